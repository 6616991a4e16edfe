"""Pages that name the tests behind their claims: each of these tests exists."""

from __future__ import annotations

import re

import pytest

from tests.docs.shell import ROOT

PAGES = ("bugs-found", "failure-modes", "threat-model")
NAMED = sorted(
    {
        (page, *named)
        for page in PAGES
        for named in re.findall(
            r"`((?:tests|clients)/[\w./-]+?)(?:::(\w+))?`",
            (ROOT / f"docs/{page}.md").read_text(encoding="utf-8"),
        )
    }
)


def test_every_page_names_tests() -> None:
    assert {page for page, _, _ in NAMED} == set(PAGES)


def test_every_defence_of_the_threat_model_names_a_test() -> None:
    page = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
    table = page.split("## What is defended")[1].split("## What is not defended")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    assert [row for row in rows if "`tests/" not in row] == []


@pytest.mark.parametrize(("page", "file", "name"), NAMED)
def test_a_named_test_exists(page: str, file: str, name: str) -> None:
    path = ROOT / file
    assert path.exists()
    assert not name or re.search(rf"\b{name}\b", path.read_text(encoding="utf-8"))
