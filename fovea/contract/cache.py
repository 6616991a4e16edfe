"""What an encoder's store holds and deletes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fovea.contract.codec import pick
from fovea.encoder.v1 import encoder_pb2

M = TypeVar("M")


@dataclass(frozen=True)
class CacheStats:
    """The encoder's store. Sizes survive a restart. Events are counted from process start."""

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
class Deleted:
    """What a deletion removed: uploads, row records, and the bytes of both."""

    uploads: int
    records: int
    bytes: int


def cache_stats_to_proto(stats: CacheStats) -> encoder_pb2.GetCacheStatsResponse:
    return encoder_pb2.GetCacheStatsResponse(**vars(stats))


def cache_stats_from_proto(message: encoder_pb2.GetCacheStatsResponse) -> CacheStats:
    return CacheStats(**pick(message, CacheStats.__dataclass_fields__))


def deleted_to_proto(deleted: Deleted, response: Callable[..., M]) -> M:
    """A response of that type, which has the fields of Deleted."""
    return response(**vars(deleted))


def deleted_from_proto(message: Any) -> Deleted:
    return Deleted(message.uploads, message.records, message.bytes)
