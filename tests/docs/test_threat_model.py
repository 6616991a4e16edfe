"""docs/threat-model.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_defence_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text()
    table = page.split("## What is defended")[1].split("## What is not defended")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    for row in rows:
        tests = re.findall(r"`(tests/[^`]+)`", row)
        assert tests, row
        assert [test for test in tests if not (ROOT / test).exists()] == []
