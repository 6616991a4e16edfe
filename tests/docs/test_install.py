"""Pages install Fovea from a checkout: on the public package index, its name is that of another project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.shell import ROOT

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_installs_no_package_of_our_name(page: Path) -> None:
    installed = re.findall(r"pip install ([^\n`#]*)", page.read_text(encoding="utf-8"))
    assert not [arguments for arguments in installed if re.search(r"(^|[\s'\"])fovea\b", arguments)]
