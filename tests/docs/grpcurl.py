"""The page docs/grpcurl.md; `python -m tests.docs.grpcurl --write` puts the output of a real run into it.

The old output stays if it differs from the new only in values that differ from run to run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.docs.comparison import steady
from tests.docs.page import Block, blocks, with_outputs
from tests.docs.shell import ROOT, run, services

PAGE = ROOT / "docs" / "grpcurl.md"


def page_blocks() -> list[Block]:
    """The commands of the page and their outputs."""
    return blocks(PAGE.read_text(encoding="utf-8"))


def printed(folder: Path) -> list[str]:
    """The current output of the commands, with a fresh encoder whose store is in `folder`."""
    with services(folder) as at:
        return run([block.command for block in page_blocks()], at)


def write() -> None:
    """Write the current output of the commands to the page."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [
            block.output if steady(block.output) == steady(now) else now
            for block, now in zip(page_blocks(), printed(Path(folder)), strict=True)
        ]
    PAGE.write_text(with_outputs(PAGE.read_text(encoding="utf-8"), outputs), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.docs.grpcurl --write")
    write()
