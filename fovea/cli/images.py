"""The images that a command is given: files, ids of stored images, pages of PDFs, for a plan also sizes."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.errors import NoPdf

if TYPE_CHECKING:
    from fovea.client import Budget, Size
    from fovea.client.messages import Source

STDIN = "-"
_SIZE = re.compile(r"([0-9]{1,9})[xX]([0-9]{1,9})")

Pages = Annotated[
    str, typer.Option("--pages", metavar="1-3,5", help="Which pages of a PDF; all of it by default.")
]


def size_of(argument: str) -> tuple[int, int] | None:
    """(width, height) of a `WxH`."""
    written = _SIZE.fullmatch(argument)
    return (int(written[1]), int(written[2])) if written else None


def given(argument: str) -> str | bytes:
    """The path; the bytes of a pipe, which can be read only once. `-` is standard input."""
    if argument == STDIN:
        return sys.stdin.buffer.read()
    if size_of(argument) or not Path(argument).is_fifo():
        return argument
    from fovea.client.sources import content

    return content(argument)


def named(arguments: Sequence[str], pages: str, budget: Budget) -> list[tuple[str, Source]]:
    """Each file and id by its name, each page of a PDF drawn at its size within the budget."""
    files = [(argument, given(argument)) for argument in arguments]
    _check([file for _, file in files], pages)
    return [one for name, file in files for one in _named(name, file, pages, budget)]


def named_or_sized(arguments: Sequence[str], pages: str, budget: Budget) -> list[tuple[str, Source | Size]]:
    """As `named`; a size that is no file stands for an image."""
    from fovea.client import Size

    files = [(argument, given(argument)) for argument in arguments]
    _check([file for _, file in files], pages)
    found: list[tuple[str, Source | Size]] = []
    for name, file in files:
        size = None if Path(name).exists() else size_of(name)
        found += [(name, Size(*size))] if size else _named(name, file, pages, budget)
    return found


def _named(name: str, file: str | bytes, pages: str, budget: Budget) -> list[tuple[str, Source]]:
    from fovea.client import pdf

    if not pdf.is_pdf(file):
        return [(name, file)]
    numbers = [number for number, _ in pdf.sizes(file, pages)]
    drawn = pdf.pages(file, pages, budget=budget)
    return [(f"{name} page {number}", page) for number, page in zip(numbers, drawn, strict=True)]


def _check(files: Sequence[str | bytes], pages: str) -> None:
    from fovea.client.pdf import is_pdf

    if pages and not any(is_pdf(file) for file in files):
        raise NoPdf(pages)
