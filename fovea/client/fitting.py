"""Shrinks an image before upload, to the size that the service would plan anyway.

Fewer bytes are sent and the answer costs the same: the service counts within a token of the original.
`fovea.images` decodes on both sides (upright, transparency on white), followed by a bicubic resize. If
shrinking saves nothing, or the file is damaged or lacks pixels, the bytes are returned unchanged; the service
reports the problem. Makes no calls, and uses the published limits of Qwen3-VL.
"""

from __future__ import annotations

import io

from PIL import Image

from fovea import images
from fovea.client.sources import File, content
from fovea.contract.budget import UNDECIDED, Budget
from fovea.contract.errors import AspectTooExtreme, ImageInvalid
from fovea.geometry import Geometry
from fovea.images.jpeg import scan_count
from fovea.planning.limit import pixel_limit

QUALITY = 92
TOKENS_APART = 1
MAX_SCANS = 100
"""The services' default limit; each scan passes over all pixels."""


def fit(image: File, max_pixels: int | None = None, *, budget: Budget | None = None) -> bytes:
    """The bytes of a smaller image that costs the same tokens within a budget, or the file's own bytes.

    `max_pixels` is shorthand for a budget with that limit; the default is 1310720, as in a request. Pixel,
    side and token limits apply; `detail` and reduction then save as much on the shrunk image. JPEG stays
    JPEG, everything else becomes PNG. The result has an id of its own, the same for the same file: fit an
    image always or never, or its rows are computed twice. Raises OSError if `image` is an unreadable path.
    """
    data = content(image)
    allowed = UNDECIDED.with_pixels(max_pixels) if budget is None else budget.with_pixels(max_pixels)
    try:
        smaller = _smaller(data, allowed)
    except (ImageInvalid, MemoryError):  # the service reports the problem
        return data
    return smaller if smaller is not None and len(smaller) < len(data) else data


def fitted_size(width: int, height: int, budget: Budget) -> tuple[int, int] | None:
    """The planned (width, height) of an image, or None if shrinking is useless.

    It is useless if the plan enlarges, or if the service would not plan the same for the result: sides are
    rounded down, so a small limit may fall below the minimum pixels, and a long thin image may become too
    thin.
    """
    try:
        planned = Geometry().plan(width, height, pixel_limit(budget, width, height))
        limit = pixel_limit(budget, planned.width, planned.height)
        again = Geometry().plan(planned.width, planned.height, limit)
    except AspectTooExtreme:
        return None
    if planned.width > width or planned.height > height or (planned.width, planned.height) == (width, height):
        return None
    if abs(again.tokens - planned.tokens) > TOKENS_APART:
        return None
    return planned.width, planned.height


def _smaller(data: bytes, budget: Budget) -> bytes | None:
    still = images.opened(data)
    if still.format == "JPEG" and scan_count(data, MAX_SCANS) > MAX_SCANS:
        return None
    # Before decoding. The EXIF orientation does not change whether shrinking is useful.
    if fitted_size(still.width, still.height, budget) is None:
        return None
    still.check_complete()
    picture = images.shown(still).image
    size = fitted_size(*picture.size, budget)
    format = "JPEG" if still.format == "JPEG" else "PNG"
    return _written(picture.resize(size, Image.Resampling.BICUBIC), format) if size else None


def _written(picture: Image.Image, format: str) -> bytes:
    """JPEGs are written without chroma subsampling, because it blurs coloured text, which is read most."""
    out = io.BytesIO()
    options = {"quality": QUALITY, "subsampling": "4:4:4"} if format == "JPEG" else {}
    picture.save(out, format, **options)
    return out.getvalue()
