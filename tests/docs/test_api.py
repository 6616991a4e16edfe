"""docs/api.md is generated from the current protos and is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.apidoc.contract import Package, packages
from tools.apidoc.page import render

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def contract() -> list[Package]:
    return packages(ROOT / "protos")


def test_the_page_is_up_to_date(contract: list[Package]) -> None:
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == render(contract), "run make proto"


def test_every_comment_of_the_protos_stands_on_the_page(contract: list[Package]) -> None:
    """Reads the text of the protos, independent of the generator of the page."""
    page = render(contract).replace("\\|", "|")
    missing = []
    for path in sorted((ROOT / "protos").rglob("*.proto")):
        for comment in re.findall(r"(?:^[ ]*//.*\n)+", path.read_text(), re.M):
            text = " ".join(line.strip().removeprefix("//").strip() for line in comment.splitlines())
            if text not in page:
                missing.append(f"{path.name}: {text}")
    assert not missing


def test_every_link_has_its_anchor(contract: list[Package]) -> None:
    page = render(contract)
    anchors = re.findall(r'<a id="(.*?)">', page)
    assert len(anchors) == len(set(anchors))
    assert set(re.findall(r"\]\(#(.*?)\)", page)) <= set(anchors)
