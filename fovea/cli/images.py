"""The images that a command is given: files, ids of stored images, pages of PDFs, for a plan also sizes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fovea.cli.errors import NoPdf

if TYPE_CHECKING:
    from fovea.client import Budget, Size
    from fovea.client.messages import Source

_SIZE = re.compile(r"([0-9]{1,9})[xX]([0-9]{1,9})")

Pages = Annotated[
    str, typer.Option("--pages", metavar="1-3,5", help="Which pages of a PDF; all of it by default.")
]


def size_of(argument: str) -> tuple[int, int] | None:
    """(width, height) of a `WxH`."""
    written = _SIZE.fullmatch(argument)
    return (int(written[1]), int(written[2])) if written else None


def named(arguments: Sequence[str], pages: str, budget: Budget) -> list[tuple[str, Source]]:
    """Each file and id by its name, each page of a PDF drawn at its size within the budget."""
    _check(arguments, pages)
    return [one for argument in arguments for one in _named(argument, pages, budget)]


def named_or_sized(arguments: Sequence[str], pages: str, budget: Budget) -> list[tuple[str, Source | Size]]:
    """As `named`; a size that is no file stands for an image."""
    from fovea.client import Size

    _check(arguments, pages)
    found: list[tuple[str, Source | Size]] = []
    for argument in arguments:
        size = None if Path(argument).exists() else size_of(argument)
        found += [(argument, Size(*size))] if size else _named(argument, pages, budget)
    return found


def _named(argument: str, pages: str, budget: Budget) -> list[tuple[str, Source]]:
    from fovea.client import pdf

    if not pdf.is_pdf(argument):
        return [(argument, argument)]
    numbers = [number for number, _ in pdf.sizes(argument, pages)]
    drawn = pdf.pages(argument, pages, budget=budget)
    return [(f"{argument} page {number}", page) for number, page in zip(numbers, drawn, strict=True)]


def _check(arguments: Sequence[str], pages: str) -> None:
    from fovea.client.pdf import is_pdf

    if pages and not any(is_pdf(argument) for argument in arguments):
        raise NoPdf(pages)
