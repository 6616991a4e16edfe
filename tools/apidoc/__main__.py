"""`python -m tools.apidoc` writes docs/api.md anew from the protos as they are."""

from __future__ import annotations

from pathlib import Path

from tools.apidoc.contract import packages
from tools.apidoc.page import render

ROOT = Path(__file__).parents[2]

if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(render(packages(ROOT / "protos")), encoding="utf-8")
