"""docs/bugs-found.md names a test for each bug, and every test that it names exists."""

from __future__ import annotations

import re

import pytest

from tests.docs.shell import ROOT

NAMED = re.findall(r"`([\w./-]+)::(\w+)", (ROOT / "docs" / "bugs-found.md").read_text(encoding="utf-8"))


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 100


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file: str, name: str) -> None:
    assert re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8"))
