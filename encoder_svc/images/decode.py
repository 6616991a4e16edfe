"""Decodes a file of bytes that nobody trusts into pixels and the facts about it.

Blocking and on the CPU: `decoder.py` says where it runs. Nothing here knows the model or its patch
size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoder_svc.images.detail import DetailMeasures, measure
from encoder_svc.images.header import opened
from encoder_svc.images.limits import ImageLimits
from encoder_svc.store.keys import pixel_digest
from fovea.contract.image import ImageFacts
from fovea.contract.rows import digest
from fovea.images import Shown, shown

PIXELS_REVISION = 2
"""Raise it with any change of what files are decoded to, or of which files are refused: facts of stored
images that were made before are then not used. Rows stay, as their keys name the pixels that they were
computed from.
"""


@dataclass(frozen=True)
class DecodedImage:
    """`rgb` is (height, width, 3) uint8, contiguous, as a viewer would show it."""

    rgb: npt.NDArray[np.uint8]
    facts: ImageFacts


def decode(data: bytes, limits: ImageLimits) -> DecodedImage:
    """The first frame of `data`, whole. Raises a subclass of ImageInvalid, or AspectTooExtreme."""
    still = opened(data, limits)
    still.check_complete()
    seen = shown(still)
    rgb = _rgb(seen)
    return DecodedImage(rgb, _facts(data, seen, rgb, measure(seen.image, rgb)))


def pixels(data: bytes, limits: ImageLimits) -> npt.NDArray[np.uint8]:
    """`DecodedImage.rgb` alone, of a file that `decode` has found whole. Raises the same for what is damaged
    since.
    """
    return _rgb(shown(opened(data, limits)))


def _rgb(seen: Shown) -> npt.NDArray[np.uint8]:
    return np.array(seen.image.convert("RGB"))


def _facts(data: bytes, seen: Shown, rgb: npt.NDArray[np.uint8], detail: DetailMeasures) -> ImageFacts:
    height, width = rgb.shape[:2]
    return ImageFacts(
        digest=digest(data),
        pixel_digest="sha256:" + pixel_digest("RGB", width, height, rgb.data).hex(),
        format=seen.format,
        byte_size=len(data),
        width=width,
        height=height,
        exif_orientation=seen.orientation,
        had_alpha=seen.had_alpha,
        **vars(detail),
    )
