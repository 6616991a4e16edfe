"""What comes back from the services, as plain values. The field names are those of the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fovea.contract.budget import Budget
from fovea.contract.count import TokenCount as TokenCount
from fovea.contract.receipt import Receipt, Step


@dataclass(frozen=True)
class Started:
    """The request was accepted: its images are stored and its prompt fits."""

    request_id: str
    model: str
    prompt_tokens: int
    visual_tokens: int


@dataclass(frozen=True)
class Text:
    """More of the answer. `logprobs` are one a token, natural, where they were asked for."""

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Finished:
    """The answer is complete. `finish_reason` is `stop` or `length`."""

    finish_reason: str
    matched_stop: str
    receipt: Receipt


Event = Started | Text | Finished


@dataclass(frozen=True)
class Answer:
    """A whole answer. `finish_reason` is `stop`, or `length` where it was cut: then it need not have the form
    that was asked for. `logprobs` are one a token, natural, where they were asked for.
    """

    text: str
    finish_reason: str
    model: str
    request_id: str
    receipt: Receipt
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class ImagePlan:
    """What is done to an image, and the most and the fewest visual tokens that it then costs. `repeat_of` is
    the place of the earlier image that it repeats."""

    steps: tuple[Step, ...]
    tokens: int
    tokens_min: int
    repeat_of: int | None


@dataclass(frozen=True)
class Alternative:
    """The same request under another budget, which can be sent as it is. Fields as in `Count`."""

    name: str
    budget: Budget
    visual_tokens: int
    visual_tokens_min: int
    exact: bool
    row_bytes: int
    kv_bytes: int
    prefill_flops: float
    fits_context: bool


@dataclass(frozen=True)
class Count:
    """What a whole request would cost. `fits_context` counts the room for the answer too.

    `exact` says that `visual_tokens` is what an answer would spend; otherwise it is the most, and
    `visual_tokens_min` the fewest. `row_bytes` are those of each different image once. `prefill_ms` is what
    reading such a prompt took lately, 0 where nothing was read yet. `plans` stand in the order of `images`.
    """

    prompt_tokens: int
    text_tokens: int
    visual_tokens: int
    images: tuple[TokenCount, ...]
    kv_bytes: int
    fits_context: bool
    exact: bool
    visual_tokens_min: int
    row_bytes: int
    prefill_flops: float
    prefill_ms: float
    plans: tuple[ImagePlan, ...]
    alternatives: tuple[Alternative, ...]


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
class Deleted:
    """What a deletion removed: 1 where the upload was stored, row records, and the bytes of both."""

    uploads: int
    records: int
    bytes: int


@dataclass(frozen=True)
class CacheStats:
    """The encoder's store. Sizes are true after a restart; events count from the start of the process."""

    records: int
    record_bytes: int
    record_capacity_bytes: int
    uploads: int
    upload_bytes: int
    upload_capacity_bytes: int
    hits: int
    misses: int
    evictions: int
    failed_checks: int
    skipped_puts: int


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
