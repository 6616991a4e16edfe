"""The rows of an image and their placement as plain values. Field names are those of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fovea.contract.count import TokenCount
from fovea.contract.row_stream import GridIndices, RowPlacement


@dataclass(frozen=True)
class Rows:
    """The verified rows of an image.

    `data` is `count * row_bytes` bytes in raster order; `width`, `levels` and `dtype` define the layout.
    `kept` are the kept indices, ascending; empty if all rows are here. `timings` are the encoder's
    milliseconds by stage.
    """

    data: bytes
    count: int
    width: int
    levels: int
    dtype: str
    grid_thw: tuple[int, int, int]
    source: str
    encoder: str
    fingerprint: str
    rows_digest: str
    timings: Mapping[str, float]
    kept: tuple[int, ...] = ()


@dataclass(frozen=True)
class Placed:
    """Which rows of an image a plan sends.

    `known` is False if only the tower could tell and was not run; `count` is then that of the whole image.
    `kept` are the kept indices as in `Rows`. `order` are the indices of all encoded rows by decreasing
    importance, if requested and the plan selects rows.
    """

    known: bool
    cost: TokenCount
    count: int
    kept: tuple[int, ...]
    order: tuple[int, ...]
    source: str
    encoder: str
    fingerprint: str
    timings: Mapping[str, float]

    @classmethod
    def of(cls, placement: RowPlacement) -> Placed:
        header = placement.header
        return cls(
            known=placement.known,
            cost=header.count,
            count=header.rows,
            kept=as_tuple(header.kept),
            order=tuple(placement.order.tolist()),
            source=header.origin,
            encoder=header.encoder,
            fingerprint=header.fingerprint,
            timings=placement.timings,
        )


def as_tuple(kept: GridIndices | None) -> tuple[int, ...]:
    """Kept indices as this package returns them."""
    return () if kept is None else tuple(kept.tolist())
