"""Renders pages of a PDF at their planned size, so that they are not resized again.

A page has no pixels of its own: it counts as an image at DPI dots per inch, which a budget shrinks. It is
rendered at the planned size with its aspect ratio, on white; the rest of the last cells stays white. Only if
a budget leaves a page less than about 80 tokens does the service resize again, because of the minimum pixels.
The same page within the same budget yields the same bytes, so its rows are reused. Makes no calls. Needs
pypdfium2, the extra `pdf`, which is imported when a file is opened.
"""

from __future__ import annotations

import io
import math
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.client.naming import naming_image
from fovea.contract.budget import UNDECIDED, Budget
from fovea.contract.errors import InvalidArgument, Violation
from fovea.geometry import Geometry
from fovea.planning.limit import pixel_limit

if TYPE_CHECKING:
    from PIL import Image

DPI = 300
POINTS = 72
"""Points per inch, the unit of a PDF."""

MAX_PAGES = 64
HEAD_BYTES = 1024
"""The PDF signature must be within these bytes."""

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_PDFIUM_LOCK = threading.Lock()
"""PDFium is not thread-safe."""

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


def pages(
    file: PdfFile, which: str = "", max_pixels: int | None = None, *, budget: Budget = UNDECIDED
) -> list[bytes]:
    """The pages of a PDF as PNG files, each at its planned size within a budget.

    `which` is for instance `1-3` or `2,5-7`, counted from 1; empty means all, up to MAX_PAGES.
    `max_visual_tokens` applies to each page: splitting it between them is the server's task. Raises OSError
    for an unreadable path, and the errors of this module.
    """
    allowed = budget.with_pixels(max_pixels)
    with _opened(file) as document:
        chosen = numbers(which, len(document))
        return [_drawn_page(document, number, _name(file), allowed) for number in chosen]


def sizes(file: PdfFile, which: str = "") -> list[tuple[int, Size]]:
    """Each page number with its nominal size (width, height) in pixels. Renders nothing."""
    with _opened(file) as document:
        chosen = numbers(which, len(document))
        return [(number, _size(_page(document, number, _name(file)))) for number in chosen]


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


@contextmanager
def _opened(file: PdfFile) -> Iterator[Any]:
    name = _name(file)
    try:
        import pypdfium2
    except ImportError:
        raise PdfNotReadable(name, "that needs pypdfium2, in the extra `fovea[pdf]`") from None
    data = file if isinstance(file, bytes) else Path(file).read_bytes()
    with _PDFIUM_LOCK:
        try:
            with closing(pypdfium2.PdfDocument(data)) as document:
                document.init_forms()  # render filled-in form fields too
                yield document
        except pypdfium2.PdfiumError as failed:
            raise PdfNotReadable(name, _why(failed)) from None


def _name(file: PdfFile) -> str:
    return "the PDF" if isinstance(file, bytes) else str(file)


def _why(failed: Exception) -> str:
    """Derived from PDFium's error number; its message adds nothing."""
    behind_password = getattr(failed, "err_code", None) in (4, 5)
    return "it is protected by a password" if behind_password else "it is not a PDF, or damaged"


def _page(document: Any, number: int, name: str) -> Any:
    """Load a page. Raises PageWithoutArea.

    A crop box outside of the media box leaves no area; the whole page is shown then, as in viewers.
    """
    page = document[number - 1]
    if not all(page.get_size()):
        page.set_cropbox(*page.get_mediabox())
        page.close()
        page = document[number - 1]
    if not all(page.get_size()):
        raise PageWithoutArea(name, number)
    return page


def _size(page: Any) -> Size:
    width, height = page.get_size()
    return max(1, round(width * DPI / POINTS)), max(1, round(height * DPI / POINTS))


def _drawn_page(document: Any, number: int, name: str, budget: Budget) -> bytes:
    page = _page(document, number, name)
    with naming_image(f"{name} page {number}"):
        return _drawn(page, budget)


def _drawn(page: Any, budget: Budget) -> bytes:
    from PIL import Image

    size = _size(page)
    planned = Geometry().plan(*size, pixel_limit(budget, *size))
    canvas = Image.new("RGB", (planned.width, planned.height), "white")
    canvas.paste(_picture(page, planned.width, planned.height))
    out = io.BytesIO()
    canvas.save(out, "PNG")
    return out.getvalue()


def _picture(page: Any, width: int, height: int) -> Image.Image:
    """Render the page to fit, at a hair less than the exact scale: PDFium rounds sides up."""
    page_width, page_height = page.get_size()
    scale = min(width / page_width, height / page_height)
    drawn: Image.Image = page.render(scale=math.nextafter(scale, 0), rev_byteorder=True).to_pil()
    return drawn.convert("RGB")
