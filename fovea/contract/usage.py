"""The record of a request in the ledger, and sums over records.

The decoder makes a record of every request, however it ends. Metrics, log, ledger and `UsageService` all take
their numbers from it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from fovea.contract.codec import EnumCodec, pick
from fovea.contract.errors import InvalidArgument
from fovea.contract.image import timestamp
from fovea.contract.receipt import Receipt, receipt_from_proto, receipt_to_proto
from fovea.decoder.v1 import usage_pb2


class Outcome(StrEnum):
    """How a request ended."""

    OK = "ok"
    LENGTH = "length"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    REFUSED = "refused"
    FAILED = "failed"


class Dimension(StrEnum):
    """By what records are summed up."""

    TENANT = "tenant"
    TIER = "tier"
    HOUR = "hour"
    MODEL = "model"
    IMAGE_KIND = "kind"


class AnomalyKind(StrEnum):
    """What has changed in the use of a tenant, or in a tier."""

    COST = "cost"
    NEW_IMAGES = "new_images"
    MISSES = "misses"
    LENGTH = "length"
    SILENT_ERRORS = "silent_errors"


_ANOMALY = EnumCodec(usage_pb2.AnomalyKind, AnomalyKind)
_ANOMALY_PLAIN = ("tenant", "request_id", "image_kind", "usual", "value", "tier")
_OUTCOME = EnumCodec(usage_pb2.Outcome, Outcome)
_DIMENSION = EnumCodec(usage_pb2.UsageDimension, Dimension)
_PLAIN = ("id", "request_id", "parent_request_id", "tenant", "method", "reason", "model")


@dataclass(frozen=True)
class UsageRecord:
    """What a request has used, however it ended. `started` is in seconds since the epoch.

    Holds no prompt, no image and no answer. `id` is unique; callers may share a `request_id`. `reason` is
    that of a refusal or failure, otherwise empty. `charge_key` is shared by the retries of a call.
    `token_gaps_s` are the seconds between the tokens of the answer. Neither is stored with the record.
    """

    id: str
    request_id: str
    tenant: str
    started: float
    method: str
    outcome: Outcome
    model: str
    receipt: Receipt
    reason: str = ""
    parent_request_id: str = ""
    charge_key: str = ""
    token_gaps_s: tuple[float, ...] = field(default=(), compare=False, repr=False)

    @property
    def tier(self) -> str:
        """The tiers that were tried, in order."""
        return ">".join(self.receipt.tier.path)

    @property
    def image_kind(self) -> str:
        """What the images mostly show. Several kinds are joined; empty without images."""
        return "+".join(sorted({image.kind.value for image in self.receipt.images}))

    def as_json(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in (*_PLAIN, "started", "tier", "image_kind", "saved")},
            "outcome": self.outcome.value,
            "receipt": self.receipt.as_json(),
        }

    @property
    def saved(self) -> dict[str, int]:
        """Visual tokens saved, by the step that saved them."""
        saved: Counter[str] = Counter()
        for image in self.receipt.images:
            for step in image.steps:
                saved[step.name] += max(0, step.before - step.after)
        return dict(saved)


@dataclass(frozen=True)
class Anomaly:
    """A change in the use of a tenant, found at `time` with a request. SILENT_ERRORS are those of a tier.

    `kind` is None if only a newer version knows it. `usual` and `value` are visual tokens of an image for
    COST, otherwise shares.
    """

    kind: AnomalyKind | None
    tenant: str
    time: float
    request_id: str
    image_kind: str
    usual: float
    value: float
    tier: str = ""

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"kind": self.kind.value if self.kind else ""}


@dataclass(frozen=True)
class UsageFilter:
    """Which records to read. Times are in seconds since the epoch: from `start`, before `end`."""

    start: float | None = None
    end: float | None = None
    tenant: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True)
class UsageSummary:
    """The sums of records that share a key and a currency."""

    key: str
    requests: int
    ok: int
    length: int
    cancelled: int
    deadline: int
    refused: int
    failed: int
    text_tokens: int
    visual_tokens: int
    naive_visual_tokens: int
    cached_prompt_tokens: int
    output_tokens: int
    encodes: int
    wire_bytes: int
    amount: float
    naive_amount: float
    currency: str


@dataclass(frozen=True)
class UsagePage:
    """Records, newest first. `next_page` continues after the last; empty on the last page."""

    records: tuple[UsageRecord, ...]
    next_page: str = ""


def record_to_proto(record: UsageRecord) -> usage_pb2.UsageRecord:
    return usage_pb2.UsageRecord(
        start_time=timestamp(record.started),
        outcome=_OUTCOME.to_proto(record.outcome),
        receipt=receipt_to_proto(record.receipt),
        **pick(record, _PLAIN),
    )


def record_from_proto(message: usage_pb2.UsageRecord) -> UsageRecord:
    """An outcome that only a newer server knows is FAILED."""
    return UsageRecord(
        started=_seconds(message.start_time),
        outcome=_OUTCOME.from_proto(message.outcome) or Outcome.FAILED,
        receipt=receipt_from_proto(message.receipt),
        **pick(message, _PLAIN),
    )


def filter_to_proto(chosen: UsageFilter) -> usage_pb2.UsageFilter:
    return usage_pb2.UsageFilter(
        start_time=None if chosen.start is None else timestamp(chosen.start),
        end_time=None if chosen.end is None else timestamp(chosen.end),
        tenant=chosen.tenant,
        outcome=_OUTCOME.to_proto(chosen.outcome),
    )


def filter_from_proto(message: usage_pb2.UsageFilter) -> UsageFilter:
    """Raises InvalidArgument for an outcome that this version does not know."""
    if not _OUTCOME.knows(message.outcome):
        raise InvalidArgument.of_field("filter.outcome", "is not an outcome", actual=message.outcome)
    return UsageFilter(
        _seconds(message.start_time) if message.HasField("start_time") else None,
        _seconds(message.end_time) if message.HasField("end_time") else None,
        message.tenant,
        _OUTCOME.from_proto(message.outcome),
    )


def dimension_to_proto(dimension: Dimension | None) -> usage_pb2.UsageDimension.ValueType:
    number: usage_pb2.UsageDimension.ValueType = _DIMENSION.to_proto(dimension)
    return number


def dimension_from_proto(number: usage_pb2.UsageDimension.ValueType) -> Dimension | None:
    """Raises InvalidArgument for a dimension that this version does not know."""
    if not _DIMENSION.knows(number):
        raise InvalidArgument.of_field("by", "is not a dimension", actual=number)
    return _DIMENSION.from_proto(number)


def summary_to_proto(summary: UsageSummary) -> usage_pb2.UsageSummary:
    return usage_pb2.UsageSummary(**vars(summary))


def summary_from_proto(message: usage_pb2.UsageSummary) -> UsageSummary:
    values = pick(message, UsageSummary.__dataclass_fields__)
    values |= {name: int(value) for name, value in values.items() if name.endswith("_tokens")}
    return UsageSummary(**values)


def anomaly_to_proto(anomaly: Anomaly) -> usage_pb2.Anomaly:
    return usage_pb2.Anomaly(
        kind=_ANOMALY.to_proto(anomaly.kind), time=timestamp(anomaly.time), **pick(anomaly, _ANOMALY_PLAIN)
    )


def anomaly_from_proto(message: usage_pb2.Anomaly) -> Anomaly:
    return Anomaly(
        kind=_ANOMALY.from_proto(message.kind),
        time=message.time.ToNanoseconds() / 1e9,
        **pick(message, _ANOMALY_PLAIN),
    )


def microseconds(started: float) -> float:
    """A time that the wire carries without loss: a filter from a record's time includes the record."""
    return round(started, 6)


def _seconds(time: Timestamp) -> float:
    return microseconds(time.ToNanoseconds() / 1e9)


def day_of(started: float) -> str:
    """The UTC day of a time."""
    return f"{datetime.fromtimestamp(started, UTC):%Y-%m-%d}"


def hour_of(started: float) -> str:
    """The hour of a time, as the dimension HOUR names it."""
    return f"{datetime.fromtimestamp(started, UTC):%Y-%m-%dT%H:00Z}"
