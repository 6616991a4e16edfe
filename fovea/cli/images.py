"""The image arguments of a command: files, ids of stored images, pages of PDFs, and sizes for a plan."""

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


def parse_size(argument: str) -> tuple[int, int] | None:
    """(width, height) of a `WxH`, or None."""
    match = _SIZE.fullmatch(argument)
    return (int(match[1]), int(match[2])) if match else None


def given(argument: str) -> str | bytes:
    """The path, or the bytes of a pipe, which can be read only once. `-` is standard input."""
    if argument == STDIN:
        return sys.stdin.buffer.read()
    if parse_size(argument) or not Path(argument).is_fifo():
        return argument
    from fovea.client.sources import content

    return content(argument)


def named(arguments: Sequence[str], pages: str, budget: Budget) -> list[tuple[str, Source]]:
    """Each file and id with its name; each page of a PDF rendered at its size within the budget."""
    files = _files(arguments, pages)
    return [source for name, file in files for source in _named(name, file, pages, budget)]


def named_or_sized(arguments: Sequence[str], pages: str, budget: Budget) -> list[tuple[str, Source | Size]]:
    """Like `named`; a size that is not a file stands for an image."""
    from fovea.client import Size

    sources: list[tuple[str, Source | Size]] = []
    for name, file in _files(arguments, pages):
        size = None if Path(name).exists() else parse_size(name)
        sources += [(name, Size(*size))] if size else _named(name, file, pages, budget)
    return sources


def _named(name: str, file: str | bytes, pages: str, budget: Budget) -> list[tuple[str, Source]]:
    from fovea.client import pdf

    if not pdf.is_pdf(file):
        return [(name, file)]
    numbers = [number for number, _ in pdf.sizes(file, pages)]
    rendered = pdf.pages(file, pages, budget=budget)
    return [(f"{name} page {number}", page) for number, page in zip(numbers, rendered, strict=True)]


def _files(arguments: Sequence[str], pages: str) -> list[tuple[str, str | bytes]]:
    """Each argument with its path or bytes. Raises NoPdf for `pages` without a PDF."""
    from fovea.client.pdf import is_pdf

    files = [(argument, given(argument)) for argument in arguments]
    if pages and not any(is_pdf(file) for _, file in files):
        raise NoPdf(pages)
    return files
