"""The size at which an image is planned, as far as its own size decides; used by `fit`.

The server plans what depends on pixels or on the other images of a request.
"""

from __future__ import annotations

from fovea.contract.budget import Budget
from fovea.geometry import DEFAULT_MAX_PIXELS, Geometry


def pixel_limit(budget: Budget, width: int, height: int) -> int:
    """The max_pixels at which an image of this size is planned under a budget.

    The image may use all tokens of the request. If even the minimum size exceeds the budget, the image stays
    at that size and the server refuses it.
    """
    geometry = Geometry()
    pixels = DEFAULT_MAX_PIXELS if budget.max_pixels is None else budget.max_pixels
    limit = geometry.limit(width, height, pixels, budget.max_short_side or 0, budget.max_long_side or 0)
    if not budget.max_visual_tokens:
        return limit
    tokens = max(budget.max_visual_tokens, budget.min_tokens or 0)
    return geometry.within(min(limit, geometry.largest_fitting(width, height, tokens) or 1))
