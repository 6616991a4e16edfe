"""Responses of the services as plain values. Field names are those of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fovea.contract.count import TokenCount as TokenCount


@dataclass(frozen=True)
class ServerInfo:
    """A service's description of itself.

    `state` is loading, serving, draining or failed; `progress` is the share of the model that is loaded.
    `limits` and `load` carry the fields of the contract by name. `details` holds what is specific to a
    service: the encoder's name and device, the decoder's engine, attention and encoders.
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
