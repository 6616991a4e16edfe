"""What comes back from the services, as plain values. The field names are those of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fovea.contract.count import TokenCount as TokenCount


@dataclass(frozen=True)
class ServerInfo:
    """What a service says of itself.

    `state` is loading, serving, draining or failed; `progress` is the share of the model that is loaded.
    `limits` and `load` carry the fields of the contract by name. `details` holds what only one of the two
    services tells: the encoder its name and device, the decoder its engine, attention and encoders.
    """

    version: str
    model: str
    fingerprint: str
    state: str
    progress: float
    dtype: str
    features: tuple[str, ...]
    limits: Mapping[str, int]
    load: Mapping[str, int]
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """The rows of one image, checked. `data` is `count * row_bytes` bytes in raster order; `width`, `levels`
    and `dtype` say how to read them. `kept` are their places on the merged grid, one a row, ascending; empty
    where all rows are here. `timings` are the encoder's own milliseconds by stage."""

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

    `known` is False where only the tower could tell and was not to be run; then the count is that of the
    whole image. `kept` are the places as in `Rows`. `order` are the places of all encoded rows, the most
    important first, where it was asked for and the plan chooses rows.
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
