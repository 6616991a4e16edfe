"""Decodes a file of bytes that nobody trusts into canonical pixels and the facts about it.

Blocking and on the CPU: `decoder.py` says where it runs. Nothing here knows the model or its patch
size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from encoder_svc.images import canonical
from encoder_svc.images.detail import DetailMeasures, measure
from encoder_svc.images.header import guarded, opened
from encoder_svc.images.limits import ImageLimits
from encoder_svc.store.keys import pixel_digest
from fovea.contract.image import ImageFacts
from fovea.contract.rows import digest


@dataclass(frozen=True)
class DecodedImage:
    """`rgb` is (height, width, 3) uint8, contiguous, as a viewer would show it."""

    rgb: npt.NDArray[np.uint8]
    facts: ImageFacts


def decode(data: bytes, limits: ImageLimits) -> DecodedImage:
    """The first frame of `data`. Raises a subclass of ImageInvalid, or ImageAspectTooExtreme."""
    shown = _shown(data, limits)
    return DecodedImage(shown.rgb, _facts(data, shown, measure(shown.image, shown.rgb)))


def pixels(data: bytes, limits: ImageLimits) -> npt.NDArray[np.uint8]:
    """`DecodedImage.rgb` alone, without the time that its facts take. Raises the same."""
    return _shown(data, limits).rgb


@dataclass(frozen=True)
class _Shown:
    """A frame as a viewer would show it, and how it was sent."""

    image: Image.Image
    rgb: npt.NDArray[np.uint8]
    format: str
    orientation: int
    had_alpha: bool


def _shown(data: bytes, limits: ImageLimits) -> _Shown:
    image, format = opened(data, limits)
    with guarded(format, limits):
        image.load()
        turned = canonical.orientation(image)
        flat, had_alpha = canonical.rgb(image)
        upright = canonical.upright(flat, turned)
        return _Shown(upright, np.array(upright), format, turned, had_alpha)


def _facts(data: bytes, shown: _Shown, detail: DetailMeasures) -> ImageFacts:
    height, width = shown.rgb.shape[:2]
    return ImageFacts(
        digest=digest(data),
        pixel_digest="sha256:" + pixel_digest("RGB", width, height, shown.rgb.data).hex(),
        format=shown.format,
        byte_size=len(data),
        width=width,
        height=height,
        exif_orientation=shown.orientation,
        had_alpha=shown.had_alpha,
        **vars(detail),
    )
