"""`fovea count`: what an image costs, from its header or its size alone. Asks no service.

The figures of rows and KV cache are those of Qwen3-VL-30B-A3B in bf16.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fovea.cli.errors import NeitherFileNorSize, NotAnImage, TooManyPixels
from fovea.cli.images import Pages
from fovea.cli.images import size_of as size_written
from fovea.cli.options import UINT32, Json
from fovea.cli.output import emit, reported
from fovea.geometry import DEFAULT_MAX_PIXELS, Geometry, Planned

ROW_BYTES = 4 * 2048 * 2
"""A token's rows: pooled features and three deepstack levels of 2,048 bf16 values."""

KV_BYTES = 2 * 48 * 4 * 128 * 2
"""A token's keys and values: 48 layers of 4 heads of 128 bf16 values."""

CONTEXT = 8192
ANSWER = 256
"""The decoder's default context, and the answer for which a request leaves room by default."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
MIB = 1024 * 1024
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""


@dataclass(frozen=True)
class Costed:
    """An image of a size and what it becomes."""

    width: int
    height: int
    planned: Planned

    @property
    def row_bytes(self) -> int:
        return self.planned.tokens * ROW_BYTES

    @property
    def kv_bytes(self) -> int:
        return self.planned.tokens * KV_BYTES

    @property
    def fits_context(self) -> bool:
        """Whether the image and an answer of default length fit the default context."""
        return self.planned.tokens + ANSWER <= CONTEXT


def count(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE|WxH", help="A file, a PDF too, or a size such as 1024x1024.")
    ],
    pages: Pages = "",
    max_pixels: Annotated[
        int, typer.Option(min=1, max=UINT32, metavar="N", help="Shrink to at most this many pixels.")
    ] = DEFAULT_MAX_PIXELS,
    as_json: Json = False,
) -> None:
    """Count the tokens of an image. Pure arithmetic: no service is asked, no pixel is read."""
    with reported(as_json):
        if pages or image.lower().endswith(".pdf"):
            _count_pages(image, pages, max_pixels, as_json)
            return
        costed = cost(*size_of(image), max_pixels)
        if as_json:
            emit(**as_fields(costed))
        else:
            typer.echo("\n".join(as_lines(costed)))


def cost(width: int, height: int, max_pixels: int) -> Costed:
    return Costed(width, height, Geometry().plan(width, height, max_pixels))


def _count_pages(path: str, pages: str, max_pixels: int, as_json: bool) -> None:
    from fovea.client.pdf import sizes

    found = [(number, cost(*size, max_pixels)) for number, size in sizes(path, pages)]
    if as_json:
        fields = [{"page": number, **as_fields(costed)} for number, costed in found]
        emit(pages=fields, tokens=sum(costed.planned.tokens for _, costed in found))
    else:
        typer.echo("\n".join(_page_lines(found)))


def _page_lines(found: Sequence[tuple[int, Costed]]) -> list[str]:
    lines = [f"page {number}: {as_lines(costed)[0].partition(': ')[2]}" for number, costed in found]
    return [*lines, f"in all: {sum(costed.planned.tokens for _, costed in found):,} tokens"]


def size_of(argument: str) -> tuple[int, int]:
    """(width, height) as a viewer shows it, of a `WxH` or of a file."""
    written = size_written(argument)
    if written:
        return written
    if not Path(argument).exists():
        raise NeitherFileNorSize(argument)
    return _size_of_file(argument)


def _size_of_file(path: str) -> tuple[int, int]:
    """Reads the header alone; so EXIF that a PNG carries behind its pixels is not seen."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                seen = image.format != "PNG" or "exif" in image.info
                sideways = seen and image.getexif().get(_ORIENTATION) in _SIDEWAYS
                width, height = image.size
    except UnidentifiedImageError:
        raise NotAnImage(path) from None
    except Image.DecompressionBombError:
        raise TooManyPixels(path) from None
    return (height, width) if sideways else (width, height)


def as_fields(costed: Costed) -> dict[str, Any]:
    planned = costed.planned
    return {
        "width": costed.width,
        "height": costed.height,
        "resized": [planned.width, planned.height],
        "patches": planned.patches,
        "tokens": planned.tokens,
        "row_bytes": costed.row_bytes,
        "kv_bytes": costed.kv_bytes,
        "fits_context": costed.fits_context,
        "exact": True,
    }


def as_lines(costed: Costed) -> list[str]:
    planned = costed.planned
    fits = "fits" if costed.fits_context else "does not fit"
    return [
        f"{costed.width}x{costed.height}: {planned.tokens:,} tokens ({planned.patches:,} patches)",
        f"  seen as  {planned.width}x{planned.height} pixels",
        f"  context  {fits} {CONTEXT:,} tokens together with an answer of {ANSWER}",
        f"  memory   {costed.row_bytes / MIB:.1f} MiB of rows, {costed.kv_bytes / MIB:.1f} MiB of KV cache"
        " (Qwen3-VL-30B-A3B, bf16)",
        "Patches are not tokens: the language model reads one token for each 2x2 patches.",
    ]
