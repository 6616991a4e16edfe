"""The receipt of an answer: its cost, as values and as published JSON.

The decoder builds it, the client reads it; field names are those of the proto and of the JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fovea.contract.codec import pick
from fovea.contract.image import ImageKind, grid_to_proto, kind_from_proto, kind_to_proto
from fovea.contract.rows import (
    RowOrigin,
    dtype_from_proto,
    dtype_to_proto,
    origin_from_proto,
    origin_to_proto,
)
from fovea.decoder.v1 import receipt_pb2
from fovea.vision.v1 import image_pb2

Pair = tuple[int, int]


@dataclass(frozen=True)
class Step:
    """A change to an image before the language model saw it; counts are visual tokens."""

    name: str
    before: int
    after: int
    reason: str


@dataclass(frozen=True)
class ImageReceipt:
    """The receipt of an image. Sizes are (width, height); `tokens_full` is its cost at the checkpoint's
    limits.
    """

    digest: str
    original: Pair
    planned: Pair
    grid_thw: tuple[int, int, int]
    patches: int
    tokens_full: int
    tokens: int
    steps: tuple[Step, ...] = ()
    source: RowOrigin = RowOrigin.NONE
    encoder: str = ""
    dtype: str = ""
    row_bytes: int = 0
    wire_bytes: int = 0
    rows_digest: str = ""
    repeat_of: int | None = None
    kind: ImageKind = ImageKind.UNSPECIFIED

    def as_json(self) -> dict[str, Any]:
        lists = {name: list(getattr(self, name)) for name in ("original", "planned", "grid_thw")}
        return vars(self) | lists | {"steps": [vars(step) for step in self.steps]}


@dataclass(frozen=True)
class Totals:
    """Sums over the request. A server without planning and caching would spend the naive sums."""

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
    """`path` lists the tiers that were tried, in order; the last answered. `reason` says why.

    `reasons` says of each tier of the path why it passed the request on, or answered.
    """

    path: tuple[str, ...] = ()
    reason: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Price:
    """Priced by the operator's tariff; zero and empty without a tariff. `naive_amount` prices the naive
    totals.
    """

    amount: float = 0.0
    currency: str = ""
    naive_amount: float = 0.0


@dataclass(frozen=True)
class Receipt:
    """The receipt of an answer. `degraded` means that server load lowered the detail of images."""

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
            "tier": {
                "path": list(self.tier.path),
                "reason": self.tier.reason,
                "reasons": list(self.tier.reasons),
            },
            "price": vars(self.price),
            "degraded": self.degraded,
        }


def steps_to_proto(steps: Sequence[Step]) -> list[receipt_pb2.ReceiptStep]:
    return [receipt_pb2.ReceiptStep(**vars(step)) for step in steps]


def steps_from_proto(messages: Sequence[receipt_pb2.ReceiptStep]) -> tuple[Step, ...]:
    return tuple(Step(step.name, step.before, step.after, step.reason) for step in messages)


_PLAIN = (
    "digest", "patches", "tokens_full", "tokens", "encoder", "row_bytes", "wire_bytes", "rows_digest",
)  # fmt: skip


def _image_to_proto(image: ImageReceipt) -> receipt_pb2.ReceiptImage:
    return receipt_pb2.ReceiptImage(
        original=image_pb2.Size(width=image.original[0], height=image.original[1]),
        planned=image_pb2.Size(width=image.planned[0], height=image.planned[1]),
        grid=grid_to_proto(image.grid_thw),
        steps=steps_to_proto(image.steps),
        source=origin_to_proto(image.source),
        dtype=dtype_to_proto(image.dtype),
        repeat_of=image.repeat_of,
        kind=kind_to_proto(image.kind),
        **pick(image, _PLAIN),
    )


def _image_from_proto(message: receipt_pb2.ReceiptImage) -> ImageReceipt:
    return ImageReceipt(
        original=(message.original.width, message.original.height),
        planned=(message.planned.width, message.planned.height),
        grid_thw=(message.grid.t, message.grid.h, message.grid.w),
        steps=steps_from_proto(message.steps),
        source=origin_from_proto(message.source),
        dtype=dtype_from_proto(message.dtype),
        repeat_of=message.repeat_of if message.HasField("repeat_of") else None,
        kind=kind_from_proto(message.kind),
        **pick(message, _PLAIN),
    )


def receipt_to_proto(receipt: Receipt) -> receipt_pb2.Receipt:
    return receipt_pb2.Receipt(
        images=[_image_to_proto(image) for image in receipt.images],
        totals=receipt_pb2.ReceiptTotals(**vars(receipt.totals)),
        stages_ms=receipt_pb2.ReceiptStages(**vars(receipt.stages_ms)),
        tier=receipt_pb2.ReceiptTier(**vars(receipt.tier)),
        price=receipt_pb2.ReceiptPrice(**vars(receipt.price)),
        degraded=receipt.degraded,
    )


def receipt_from_proto(message: receipt_pb2.Receipt) -> Receipt:
    return Receipt(
        images=tuple(_image_from_proto(image) for image in message.images),
        totals=Totals(**pick(message.totals, Totals.__dataclass_fields__)),
        stages_ms=Stages(**pick(message.stages_ms, Stages.__dataclass_fields__)),
        tier=Tier(tuple(message.tier.path), message.tier.reason, tuple(message.tier.reasons)),
        price=Price(message.price.amount, message.price.currency, message.price.naive_amount),
        degraded=message.degraded,
    )


def encode_receipt(receipt: Receipt) -> bytes:
    """For storage."""
    return receipt_to_proto(receipt).SerializeToString()


def decode_receipt(data: bytes) -> Receipt:
    return receipt_from_proto(receipt_pb2.Receipt.FromString(data))
