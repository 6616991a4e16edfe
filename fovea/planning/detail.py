"""From a level of detail and measured image traits to a size.

LOW depends on the size only. AUTO takes the smallest sufficient size: with text, the size at which the
smallest common text stays readable; without text, a bound by image kind, and the smallest size of all for a
blank image. HIGH does not shrink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fovea.contract.budget import Detail
from fovea.contract.image import ImageFacts, ImageKind
from fovea.geometry import Geometry
from fovea.planning.sizes import Size, smallest

LOW_TOKENS = 256
PHOTO_TOKENS = 576
"""768x768 pixels."""
BUSY_EDGES = 0.10
"""The edge density from which a graphic gets as many tokens as a photo."""
GRAPHICS = (ImageKind.GRAPHIC, ImageKind.CHART, ImageKind.DRAWING)
READABLE_TEXT_PX = 10.0
"""The height that AUTO preserves for the smallest common text, from baseline to ascender."""


@dataclass(frozen=True)
class ImageTraits:
    """What planning knows of an image, which has tokens at `times` places of the request.

    Unless `measured`, only the size is known, and AUTO has no effect.
    """

    width: int
    height: int
    text_height: float = 0.0
    edge_density: float = 0.0
    kind: ImageKind = ImageKind.UNSPECIFIED
    measured: bool = True
    times: int = 1

    @classmethod
    def of(cls, facts: ImageFacts) -> ImageTraits:
        return cls(facts.width, facts.height, facts.text_height, facts.edge_density, facts.kind)

    @property
    def size(self) -> Size:
        return self.width, self.height


@dataclass(frozen=True)
class Sufficient:
    """A sufficient max_pixels, with the reason."""

    max_pixels: int
    reason: str


def sufficient(
    traits: ImageTraits, detail: Detail, readable_px: float, geometry: Geometry
) -> Sufficient | None:
    """The size for a level of detail, or None if the level does not shrink the image."""
    if detail is Detail.LOW:
        return Sufficient(smallest(traits.size, LOW_TOKENS, geometry), "detail low")
    if detail is Detail.HIGH:
        return None
    if traits.text_height > 0:
        reason = f"detail auto: text {traits.text_height:.0f} px"
        return Sufficient(_readable(traits, readable_px, geometry), reason)
    max_pixels = _without_text(traits, geometry)
    if max_pixels is None:
        return None
    return Sufficient(max_pixels, f"detail auto: {traits.kind.lower()} without text")


def _readable(traits: ImageTraits, readable_px: float, geometry: Geometry) -> int:
    """Scales both sides by at least `readable_px / text_height`, although scaling rounds them down."""
    cell, scale = geometry.cell, readable_px / traits.text_height
    if scale >= 1:
        return geometry.max_pixels
    width = math.ceil(traits.width * scale / cell) * cell
    height = math.ceil(traits.height * scale / cell) * cell
    pixels = 2 + max(traits.height * width**2 // traits.width, traits.width * height**2 // traits.height)
    return max(pixels, smallest(traits.size, 1, geometry))


def _without_text(traits: ImageTraits, geometry: Geometry) -> int | None:
    """None for a page or table whose text was not measured: shrinking could make it unreadable."""
    if traits.kind == ImageKind.BLANK:
        return smallest(traits.size, 1, geometry)
    if traits.kind == ImageKind.PHOTO:
        return PHOTO_TOKENS * geometry.cell**2
    if traits.kind in GRAPHICS:
        return _graphic_tokens(traits) * geometry.cell**2
    return None


def _graphic_tokens(traits: ImageTraits) -> int:
    """Between LOW_TOKENS for a nearly empty graphic and PHOTO_TOKENS for a busy graphic."""
    busy = min(1.0, traits.edge_density / BUSY_EDGES)
    return round(LOW_TOKENS + busy * (PHOTO_TOKENS - LOW_TOKENS))
