"""Decodes a file of bytes that nobody trusts into canonical pixels and the facts about it.

Blocking and on the CPU: `decoder.py` says where it runs. Nothing here knows the model or its patch
size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoder_svc.images import canonical
from encoder_svc.images.detail import Detail, measure
from encoder_svc.images.header import guarded, opened
from encoder_svc.images.limits import ImageLimits
from encoder_svc.store.keys import pixel_digest
from fovea.facts import ImageFacts
from fovea.rows import digest


@dataclass(frozen=True)
class Picture:
    """`rgb` is (height, width, 3) uint8, contiguous, as a viewer would show it."""

    rgb: npt.NDArray[np.uint8]
    facts: ImageFacts


def decode(data: bytes, limits: ImageLimits) -> Picture:
    """The first frame of `data`. Raises a subclass of ImageInvalid, or ImageAspectTooExtreme."""
    image, format = opened(data, limits)
    with guarded(format, limits):
        image.load()
        turned = canonical.orientation(image)
        flat, had_alpha = canonical.rgb(image)
        shown = canonical.upright(flat, turned)
        pixels = np.array(shown)
    detail = measure(shown, pixels)
    return Picture(pixels, _facts(data, pixels, format, turned, had_alpha, detail))


def _facts(
    data: bytes,
    pixels: npt.NDArray[np.uint8],
    format: str,
    orientation: int,
    had_alpha: bool,
    detail: Detail,
) -> ImageFacts:
    height, width = pixels.shape[:2]
    return ImageFacts(
        digest=digest(data),
        pixel_digest="sha256:" + pixel_digest("RGB", width, height, pixels.data).hex(),
        format=format,
        byte_size=len(data),
        width=width,
        height=height,
        exif_orientation=orientation,
        had_alpha=had_alpha,
        **vars(detail),
    )
