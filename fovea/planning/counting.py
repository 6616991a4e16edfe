"""The cost of a planned size."""

from __future__ import annotations

from fovea.contract.count import TokenCount
from fovea.geometry import Planned
from fovea.planning.sizes import Size


def count_tokens(original: Size, planned: Planned, row_bytes: int) -> TokenCount:
    """`row_bytes` is the size of a single row."""
    return TokenCount(
        original=original,
        planned=(planned.width, planned.height),
        grid_thw=planned.grid_thw,
        patches=planned.patches,
        tokens=planned.tokens,
        row_bytes=planned.tokens * row_bytes,
    )
