"""Renders pages of a PDF at their planned size, so that they are not resized again.

A page has no pixels of its own: it counts as an image at DPI dots per inch, which a budget shrinks. It is
rendered at the planned size with its aspect ratio, on white; the rest of the last cells stays white. Only if
a budget leaves a page less than about 80 tokens does the service resize again, because of the minimum pixels.
The same page within the same budget yields the same bytes, so its rows are reused. Makes no calls. A child
process reads the file within limits of time and memory, with pypdfium2, the extra `pdf`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from fovea.client.isolated import IsolatedReader, isolated
from fovea.client.naming import naming_image
from fovea.contract.budget import UNDECIDED, Budget
from fovea.contract.errors import InvalidArgument, Violation
from fovea.geometry import Geometry
from fovea.nursery.frames import Header
from fovea.planning.limit import pixel_limit

DPI = 300
POINTS = 72
"""Points per inch, the unit of a PDF."""

MAX_PAGES = 64
HEAD_BYTES = 1024
"""The PDF signature must be within these bytes."""

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
READER = "fovea.pdf_reader"
_MAX_POINTS = 1e6
_PNG_BYTES = 1 << 20
"""What a PNG may have beyond four bytes for each pixel."""

Size = tuple[int, int]
PdfFile = str | os.PathLike[str] | bytes
"""A path, or the bytes of a file."""


class PdfNotReadable(InvalidArgument):
    """Not a PDF, damaged, protected by a password, or no PDF reader is installed."""

    reason = "FILE_NOT_READABLE"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"cannot read {name}: {why}", path=name)


class PageWithoutArea(PdfNotReadable):
    """A page whose boxes leave no visible area."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name, f"page {number} has no area; choose others with `pages`")


class PagesInvalid(InvalidArgument):
    """Invalid page numbers, or pages that the file does not have."""

    def __init__(self, pages: str, why: str) -> None:
        super().__init__(f"pages {pages!r}: {why}", violations=[Violation("pages", why)], pages=pages)


class TooManyPages(InvalidArgument):
    """More pages than may be rendered at once."""

    def __init__(self, count: int) -> None:
        why = f"{count} are too many, at most {MAX_PAGES} are drawn at once"
        super().__init__(f"pages: {why}", violations=[Violation("pages", why)], limit=MAX_PAGES, actual=count)


def is_pdf(file: PdfFile) -> bool:
    """Whether a file has the PDF signature. False for an unreadable path."""
    if isinstance(file, bytes):
        return b"%PDF-" in file[:HEAD_BYTES]
    try:
        with Path(file).open("rb") as opened:
            return b"%PDF-" in opened.read(HEAD_BYTES)
    except (OSError, ValueError):
        return False


def page_count(file: PdfFile) -> int:
    """The number of pages of a PDF. Raises like `pages`."""
    with _opened(file) as document:
        return document.pages


def pages(
    file: PdfFile, which: str = "", max_pixels: int | None = None, *, budget: Budget = UNDECIDED
) -> list[bytes]:
    """The pages of a PDF as PNG files, each at its planned size within a budget.

    `which` is for instance `1-3` or `2,5-7`, counted from 1; empty means all, up to MAX_PAGES.
    `max_visual_tokens` applies to each page: splitting it between them is the server's task. Raises OSError
    for an unreadable path, FileTooCostly, and the errors of this module.
    """
    allowed = budget.with_pixels(max_pixels)
    with _opened(file) as document:
        return [document.drawn(number, allowed) for number in numbers(which, document.pages)]


def sizes(file: PdfFile, which: str = "") -> list[tuple[int, Size]]:
    """Each page number with its nominal size (width, height) in pixels. Renders nothing."""
    with _opened(file) as document:
        return [(number, document.size(number)) for number in numbers(which, document.pages)]


def numbers(which: str, count: int) -> list[int]:
    """The page numbers that `which` selects of `count` pages, in its order; all if it is empty."""
    chosen = [number for part in which.split(",") for number in _range(part.strip(), which, count)]
    if len(chosen) > MAX_PAGES:
        raise TooManyPages(len(chosen))
    return chosen


def _range(part: str, which: str, count: int) -> Sequence[int]:
    if not which:
        return range(1, count + 1)
    match = _RANGE.fullmatch(part)
    if not match:
        raise PagesInvalid(which, "must be numbers and ranges, for instance 1-3 or 2,5-7")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise PagesInvalid(which, f"{part} runs backwards")
    if not 1 <= first <= last <= count:
        raise PagesInvalid(which, f"{part} is outside of the {count} pages of the file")
    return range(first, last + 1)


class _Document:
    """A PDF that is open in a child process."""

    def __init__(self, reader: IsolatedReader, file: PdfFile) -> None:
        self.name = _name(file)
        self._reader = reader
        data = file if isinstance(file, bytes) else Path(file).read_bytes()
        self.pages = int(self._asked("open", data)["pages"])

    def size(self, number: int) -> Size:
        """The nominal size of a page in pixels. Raises PageWithoutArea."""
        points = self._asked("size", number=number)
        width, height = (min(max(0.0, float(points[side])), _MAX_POINTS) for side in ("width", "height"))
        if not width or not height:
            raise PageWithoutArea(self.name, number)
        return max(1, round(width * DPI / POINTS)), max(1, round(height * DPI / POINTS))

    def drawn(self, number: int, budget: Budget) -> bytes:
        """A page as a PNG of its planned size."""
        with naming_image(f"{self.name} page {number}"):
            size = self.size(number)
            planned = Geometry().plan(*size, pixel_limit(budget, *size))
            most = 4 * planned.width * planned.height + _PNG_BYTES
            _, drawn = self._reader.ask(
                "draw", max_bytes=most, number=number, width=planned.width, height=planned.height
            )
            return drawn

    def _asked(self, task: str, data: bytes = b"", **arguments: int) -> Header:
        reply, _ = self._reader.ask(task, data, **arguments)
        if "failed" in reply:
            raise PdfNotReadable(self.name, _why(reply["failed"]))
        return reply


@contextmanager
def _opened(file: PdfFile) -> Iterator[_Document]:
    if find_spec("pypdfium2") is None:
        raise PdfNotReadable(_name(file), "that needs pypdfium2, in the extra `fovea[pdf]`")
    with isolated(READER, _name(file)) as reader:
        yield _Document(reader, file)


def _name(file: PdfFile) -> str:
    return "the PDF" if isinstance(file, bytes) else str(file)


def _why(error_number: object) -> str:
    """Derived from PDFium's error number; its message adds nothing."""
    behind_password = error_number in (4, 5)
    return "it is protected by a password" if behind_password else "it is not a PDF, or damaged"
