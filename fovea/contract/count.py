"""Token counts of single images, with their codec."""

from __future__ import annotations

from dataclasses import dataclass

from fovea.contract.image import grid_to_proto
from fovea.geometry import Planned
from fovea.vision.v1 import image_pb2


@dataclass(frozen=True)
class TokenCount:
    """What one image would cost. Sizes are (width, height); `row_bytes` is the size of all its rows."""

    original: tuple[int, int]
    planned: tuple[int, int]
    grid_thw: tuple[int, int, int]
    patches: int
    tokens: int
    row_bytes: int

    @classmethod
    def of(cls, original: tuple[int, int], planned: Planned, row_bytes: int) -> TokenCount:
        """`row_bytes` is the size of one row."""
        size = planned.width, planned.height
        return cls(
            original, size, planned.grid_thw, planned.patches, planned.tokens, planned.tokens * row_bytes
        )


def token_count_to_proto(count: TokenCount) -> image_pb2.TokenCount:
    return image_pb2.TokenCount(
        original=image_pb2.Size(width=count.original[0], height=count.original[1]),
        planned=image_pb2.Size(width=count.planned[0], height=count.planned[1]),
        grid=grid_to_proto(count.grid_thw),
        patches=count.patches,
        tokens=count.tokens,
        row_bytes=count.row_bytes,
    )


def token_count_from_proto(message: image_pb2.TokenCount) -> TokenCount:
    return TokenCount(
        original=(message.original.width, message.original.height),
        planned=(message.planned.width, message.planned.height),
        grid_thw=(message.grid.t, message.grid.h, message.grid.w),
        patches=message.patches,
        tokens=message.tokens,
        row_bytes=message.row_bytes,
    )
