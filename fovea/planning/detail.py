"""How much of an image matters: from a level of detail, and what was measured of the picture, to a size.

LOW knows the size alone. AUTO takes the smallest size that suffices: where there is text, the one at which
the smallest common text is still readable; a picture without text is bounded by its kind. HIGH takes nothing
away.
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
"""The share of edge pixels from which on a graphic is given as much as a photo."""
READABLE_TEXT_PX = 10.0
"""How high the smallest common text is left by AUTO, from the line to the top of a high letter."""


@dataclass(frozen=True)
class ImageTraits:
    """What planning knows of an image. Not `measured` where only its size was told: then AUTO cannot know."""

    width: int
    height: int
    text_height: float = 0.0
    edge_density: float = 0.0
    kind: ImageKind = ImageKind.UNSPECIFIED
    measured: bool = True

    @classmethod
    def of(cls, facts: ImageFacts) -> ImageTraits:
        return cls(facts.width, facts.height, facts.text_height, facts.edge_density, facts.kind)

    @property
    def size(self) -> Size:
        return self.width, self.height


@dataclass(frozen=True)
class Sufficient:
    """A max_pixels that suffices, and why."""

    max_pixels: int
    reason: str


def sufficient(
    look: ImageTraits, detail: Detail, readable_px: float, geometry: Geometry
) -> Sufficient | None:
    """The size that a level of detail asks for; None where it takes nothing away."""
    if detail is Detail.LOW:
        return Sufficient(smallest(look.size, LOW_TOKENS, geometry), "detail low")
    if detail is Detail.HIGH:
        return None
    if look.text_height > 0:
        reason = f"detail auto: text {look.text_height:.0f} px"
        return Sufficient(_readable(look, readable_px, geometry), reason)
    tokens = {ImageKind.PHOTO: PHOTO_TOKENS, ImageKind.GRAPHIC: _graphic_tokens(look)}.get(look.kind)
    if tokens is None:
        return None
    return Sufficient(tokens * geometry.cell**2, f"detail auto: {look.kind.lower()} without text")


def _readable(look: ImageTraits, readable_px: float, geometry: Geometry) -> int:
    """Both sides scaled by at least `readable_px / text_height`, although scaling rounds them down."""
    cell, scale = geometry.cell, readable_px / look.text_height
    if scale >= 1:
        return geometry.max_pixels
    width = math.ceil(look.width * scale / cell) * cell
    height = math.ceil(look.height * scale / cell) * cell
    pixels = 2 + max(look.height * width**2 // look.width, look.width * height**2 // look.height)
    return max(pixels, smallest(look.size, 1, geometry))


def _graphic_tokens(look: ImageTraits) -> int:
    """From LOW_TOKENS for one that is almost empty to PHOTO_TOKENS for a busy one."""
    busy = min(1.0, look.edge_density / BUSY_EDGES)
    return round(LOW_TOKENS + busy * (PHOTO_TOKENS - LOW_TOKENS))
