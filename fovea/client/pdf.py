"""Pages of a PDF as pictures of the size that is planned for them, so that nothing is resized a second time.

A page has no pixels of its own: it counts as an image of DPI dots an inch, which a budget makes smaller. It
is drawn straight at that size, its aspect kept, on white; what is left of the last cells stays white. Only
where a budget leaves a page less than about 80 tokens the service resizes once more, because of the fewest
pixels. The same page within the same budget gives the same bytes, so that its rows are found again. Asks no
service. Needs pypdfium2, the extra `pdf`, which is loaded when a file is opened.
"""

from __future__ import annotations

import io
import math
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fovea.contract.budget import UNDECIDED, Budget
from fovea.contract.errors import FoveaError, InvalidArgument, Violation
from fovea.geometry import Geometry
from fovea.planning.limit import pixel_limit

if TYPE_CHECKING:
    from PIL import Image

DPI = 300
POINTS = 72
"""An inch, in the unit of a PDF."""

MAX_PAGES = 64
HEAD_BYTES = 1024
"""Within these a PDF says that it is one."""

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")
_ONE_AT_A_TIME = threading.Lock()
"""PDFium is not made for threads."""

Size = tuple[int, int]
PdfFile = str | os.PathLike[str] | bytes
"""A path, or the bytes of a file."""


class PdfNotReadable(InvalidArgument):
    """No PDF, a damaged one, one behind a password, or nothing is installed that reads it."""

    reason = "FILE_NOT_READABLE"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"cannot read {name}: {why}", path=name)


class PageWithoutArea(PdfNotReadable):
    """A page that shows nothing, because its boxes leave nothing of it."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name, f"page {number} has no area; choose others with `pages`")


class PagesInvalid(InvalidArgument):
    """A choice of pages that is none, or that the file does not have."""

    def __init__(self, pages: str, why: str) -> None:
        super().__init__(f"pages {pages!r}: {why}", violations=[Violation("pages", why)], pages=pages)


class TooManyPages(InvalidArgument):
    """More pages than are drawn at once."""

    def __init__(self, count: int) -> None:
        why = f"{count} are too many, at most {MAX_PAGES} are drawn at once"
        super().__init__(f"pages: {why}", violations=[Violation("pages", why)], limit=MAX_PAGES, actual=count)


def is_pdf(file: PdfFile) -> bool:
    """Whether a file says so in its first bytes. False for a path that cannot be read."""
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
    """The pages of a PDF as PNG files, each of the size that is planned for it within a budget.

    `which` is for instance `1-3` or `2,5-7`, counted from 1; empty is all of them, up to MAX_PAGES. What
    `max_visual_tokens` allows, it allows each page: what they share is the server's to split. Raises OSError
    for a path that cannot be read, and the errors of this module.
    """
    allowed = budget.with_pixels(max_pixels)
    with _opened(file) as document:
        chosen = numbers(which, len(document))
        return [_drawn_page(document, number, _name(file), allowed) for number in chosen]


def sizes(file: PdfFile, which: str = "") -> list[tuple[int, Size]]:
    """The number of each page, and the width and height in pixels that it counts as. Draws nothing."""
    with _opened(file) as document:
        chosen = numbers(which, len(document))
        return [(number, _size(_page(document, number, _name(file)))) for number in chosen]


def numbers(which: str, count: int) -> list[int]:
    """The numbers that `which` names of `count` pages, in its order; all where it is empty."""
    chosen = [number for part in which.split(",") for number in _range(part.strip(), which, count)]
    if len(chosen) > MAX_PAGES:
        raise TooManyPages(len(chosen))
    return chosen


def _range(part: str, which: str, count: int) -> Sequence[int]:
    if not which:
        return range(1, count + 1)
    found = _RANGE.fullmatch(part)
    if not found:
        raise PagesInvalid(which, "must be numbers and ranges, for instance 1-3 or 2,5-7")
    first, last = int(found[1]), int(found[2] or found[1])
    if first > last:
        raise PagesInvalid(which, f"{part} runs backwards")
    if not 1 <= first <= last <= count:
        raise PagesInvalid(which, f"{part} is not within the {count} pages that there are")
    return range(first, last + 1)


@contextmanager
def _opened(file: PdfFile) -> Iterator[Any]:
    name = _name(file)
    try:
        import pypdfium2
    except ImportError:
        raise PdfNotReadable(name, "that needs pypdfium2, in the extra `fovea[pdf]`") from None
    data = file if isinstance(file, bytes) else Path(file).read_bytes()
    with _ONE_AT_A_TIME:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as failed:
            raise PdfNotReadable(name, _why(failed)) from None
        try:
            document.init_forms()  # what was filled in is drawn too
            yield document
        except pypdfium2.PdfiumError as failed:
            raise PdfNotReadable(name, _why(failed)) from None
        finally:
            document.close()


def _name(file: PdfFile) -> str:
    return "the PDF" if isinstance(file, bytes) else str(file)


def _why(failed: Exception) -> str:
    """PDFium's own words name no cause that its number does not."""
    behind_password = getattr(failed, "err_code", None) in (4, 5)
    return "it is protected by a password" if behind_password else "it is no PDF, or a damaged one"


def _page(document: Any, number: int, name: str) -> Any:
    """A crop box beside the media box leaves nothing of a page; as viewers do, the whole page is shown then.

    Raises PageWithoutArea where that has no area either.
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
    try:
        return _drawn(page, budget)
    except FoveaError as error:
        error.name_image(f"{name} page {number}")
        raise


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
    """The page as large as it fits, to a hair below: PDFium rounds sides up."""
    page_width, page_height = page.get_size()
    scale = min(width / page_width, height / page_height)
    drawn: Image.Image = page.render(scale=math.nextafter(scale, 0), rev_byteorder=True).to_pil()
    return drawn.convert("RGB")
