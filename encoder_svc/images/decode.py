"""Decodes an untrusted file into pixels and facts.

Blocking and CPU-bound; `decoder.py` decides where it runs. Independent of the model and its patch size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from encoder_svc.images.detail import DetailMeasures, measure
from encoder_svc.images.header import opened
from encoder_svc.images.limits import ImageLimits
from encoder_svc.store.keys import pixel_digest
from fovea.contract.image import ImageFacts
from fovea.contract.rows import digest
from fovea.images import Drawn, Still, shown

Pixels: TypeAlias = npt.NDArray[np.uint8]
"""(height, width, 3), oriented as a viewer shows it."""

PIXELS_REVISION = 3
"""Raise it when files decode to other pixels or when other files are refused. Facts of images stored under an
older revision are then ignored. Rows stay valid, because their keys name the pixels.
"""


@dataclass(frozen=True)
class DecodedImage:
    """`rgb` is contiguous."""

    rgb: Pixels
    facts: ImageFacts


def decode(data: bytes, limits: ImageLimits) -> DecodedImage:
    """The first frame of `data`, complete. Raises a subclass of ImageInvalid, or AspectTooExtreme."""
    still = opened(data, limits)
    still.check_complete()
    upright = shown(still)
    rgb = _rgb(upright)
    return DecodedImage(rgb, _facts(data, still, upright.had_alpha, rgb, measure(upright.image, rgb)))


def pixels(data: bytes, limits: ImageLimits) -> Pixels:
    """`DecodedImage.rgb` alone, for a file that `decode` has accepted. Raises the same errors if the file is
    damaged since.
    """
    return _rgb(shown(opened(data, limits)))


def _rgb(upright: Drawn) -> Pixels:
    return np.array(upright.image.convert("RGB"))


def _facts(data: bytes, still: Still, had_alpha: bool, rgb: Pixels, detail: DetailMeasures) -> ImageFacts:
    height, width = rgb.shape[:2]
    return ImageFacts(
        digest=digest(data),
        pixel_digest="sha256:" + pixel_digest("RGB", width, height, rgb.data).hex(),
        format=still.format,
        byte_size=len(data),
        width=width,
        height=height,
        exif_orientation=still.orientation,
        had_alpha=had_alpha,
        **vars(detail),
    )
