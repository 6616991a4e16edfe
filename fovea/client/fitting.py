"""Shrinks a picture before it is uploaded, to the size that the service would plan for it anyway.

Fewer bytes travel and the answer costs the same: the service counts within one token of what it would have
counted for the original. `fovea.images` decodes for both (upright, transparency on white), and one bicubic
resize follows. Where nothing is won, or the file is damaged or lacks pixels, the bytes come back as they are,
and what is wrong with them is for the service to say. It asks no service, and knows the published limits of
Qwen3-VL.
"""

from __future__ import annotations

import io

from PIL import Image

from fovea import images
from fovea.client.sources import File, content
from fovea.contract.budget import UNDECIDED, Budget
from fovea.contract.errors import AspectTooExtreme, ImageInvalid
from fovea.geometry import Geometry
from fovea.planning.limit import pixel_limit

QUALITY = 92
TOKENS_APART = 1


def fit(image: File, max_pixels: int | None = None, *, budget: Budget | None = None) -> bytes:
    """The bytes of a smaller picture that costs the same tokens within a budget, or those of the file.

    `max_pixels` is short for a budget of it; it is 1310720 where it is not given, as in a request. Pixels,
    sides and tokens are kept to; what `detail` and reduction save beyond that, they save of the shrunk
    picture too. JPEG stays JPEG, everything else becomes PNG. The picture has an id of its own, and the same
    for the same file: fit an image always or never, or its rows are computed twice. Raises OSError where
    `image` is a path that cannot be read.
    """
    data = content(image)
    allowed = UNDECIDED.with_pixels(max_pixels) if budget is None else budget.with_pixels(max_pixels)
    try:
        smaller = _smaller(data, allowed)
    except ImageInvalid:  # what is wrong with it is for the service to say
        return data
    return smaller if smaller is not None and len(smaller) < len(data) else data


def fitted_size(width: int, height: int, budget: Budget) -> tuple[int, int] | None:
    """The planned (width, height) of a picture, None where shrinking to it is of no use.

    Of no use is a plan that enlarges, and one that the service would not repeat for its own result: sides are
    rounded down, so a small limit may leave fewer than the fewest pixels, and a long thin picture may get too
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
    # Before anything is decoded. Lying on its side, a picture has the same use of being shrunk.
    if fitted_size(still.width, still.height, budget) is None:
        return None
    still.check_complete()
    picture = images.shown(still).image
    size = fitted_size(*picture.size, budget)
    format = "JPEG" if still.format == "JPEG" else "PNG"
    return _written(picture.resize(size, Image.Resampling.BICUBIC), format) if size else None


def _written(picture: Image.Image, format: str) -> bytes:
    """A JPEG keeps its colours at full resolution: coloured text is what is read most."""
    out = io.BytesIO()
    if format == "JPEG":
        picture.save(out, format, quality=QUALITY, subsampling="4:4:4")
    else:
        picture.save(out, format)
    return out.getvalue()
