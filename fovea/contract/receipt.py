"""The receipt: what one answer cost, as plain values and as the JSON that machines rely on.

The decoder fills it, the client reads it; the field names are those of the proto and of the published JSON.
This module adds up; it knows no RPC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SOURCES = ("encoded", "rows", "prefix", "none")
Pair = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """Something done to an image before the language model saw it; counts are visual tokens."""

    name: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True)
class ImageReceipt:
    """One image. Sizes are (width, height); `tokens_full` is its cost at the checkpoint's own limits."""

    digest: str
    original: Pair
    planned: Pair
    grid_thw: tuple[int, int, int]
    patches: int
    tokens_full: int
    tokens: int
    steps: tuple[Step, ...] = ()
    source: str = "none"
    encoder: str = ""
    dtype: str = ""
    row_bytes: int = 0
    wire_bytes: int = 0
    rows_digest: str = ""
    repeat_of: int | None = None
    kind: str = "UNSPECIFIED"

    def as_json(self) -> dict[str, Any]:
        return {
            "digest": self.digest,
            "original": list(self.original),
            "planned": list(self.planned),
            "grid_thw": list(self.grid_thw),
            "patches": self.patches,
            "tokens_full": self.tokens_full,
            "tokens": self.tokens,
            "steps": [vars(step) for step in self.steps],
            "source": self.source,
            "encoder": self.encoder,
            "dtype": self.dtype,
            "row_bytes": self.row_bytes,
            "wire_bytes": self.wire_bytes,
            "rows_digest": self.rows_digest,
            "repeat_of": self.repeat_of,
            "kind": self.kind,
        }


@dataclass(frozen=True)
class Totals:
    """Sums over the request; the naive ones are those of a server that plans and keeps nothing."""

    visual_tokens: int = 0
    naive_visual_tokens: int = 0
    text_tokens: int = 0
    cached_prompt_tokens: int = 0
    output_tokens: int = 0
    encodes: int = 0
    wire_bytes: int = 0
    row_bytes: int = 0
    patches: int = 0
    naive_patches: int = 0


@dataclass(frozen=True)
class Stages:
    """Milliseconds. `encode` and `transfer` are those of the slowest image, since images overlap."""

    queue: float = 0.0
    encode: float = 0.0
    transfer: float = 0.0
    prefill: float = 0.0
    ttft: float = 0.0
    decode: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class Tier:
    """The tiers that were tried, the last of which answered, and why."""

    path: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Price:
    """By the operator's tariff; zero and empty where none is set. `naive_amount` is for the naive totals."""

    amount: float = 0.0
    currency: str = ""
    naive_amount: float = 0.0


@dataclass(frozen=True)
class Receipt:
    """The account of one answer. `degraded` where images lost detail because the server was near a limit."""

    images: tuple[ImageReceipt, ...]
    totals: Totals
    stages_ms: Stages
    tier: Tier = Tier()
    price: Price = Price()
    degraded: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "images": [image.as_json() for image in self.images],
            "totals": vars(self.totals),
            "stages_ms": {name: round(ms, 3) for name, ms in vars(self.stages_ms).items()},
            "tier": {"path": list(self.tier.path), "reason": self.tier.reason},
            "price": vars(self.price),
            "degraded": self.degraded,
        }
