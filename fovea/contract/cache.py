"""What an encoder's store holds and deletes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from fovea.contract.codec import EnumCodec, pick
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import image_pb2

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


class Erasure(StrEnum):
    """Whether deleted bytes are gone from the files of an encoder, or leave them with the next compaction."""

    ERASED = "erased"
    AFTER_COMPACTION = "after_compaction"


ERASURE = EnumCodec(image_pb2.Erasure, Erasure)


@dataclass(frozen=True)
class Deleted:
    """What a deletion removed: uploads, row records, and the bytes of both. `erasure` None is not known."""

    uploads: int
    records: int
    bytes: int
    erasure: Erasure | None = None


@dataclass(frozen=True)
class EncoderDeletion:
    """A deletion on an encoder. `deleted` is None if it did not confirm: then it may still hold the data, and
    `reason` says why.
    """

    encoder: str
    deleted: Deleted | None
    reason: str = ""


@dataclass(frozen=True)
class Deletion:
    """A deletion on every encoder that a decoder knows."""

    encoders: tuple[EncoderDeletion, ...]

    @property
    def complete(self) -> bool:
        """Whether every encoder confirmed. False without encoders: some may hold the data."""
        return bool(self.encoders) and not self.unconfirmed

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """The addresses of the encoders that did not confirm."""
        return tuple(each.encoder for each in self.encoders if each.deleted is None)

    @property
    def total(self) -> Deleted:
        """The sums over the encoders that confirmed; erased where all of them say so."""
        confirmed = [each.deleted for each in self.encoders if each.deleted is not None]
        return Deleted(
            sum(each.uploads for each in confirmed),
            sum(each.records for each in confirmed),
            sum(each.bytes for each in confirmed),
            _weakest({each.erasure for each in confirmed}),
        )


def _weakest(erasures: set[Erasure | None]) -> Erasure | None:
    if Erasure.AFTER_COMPACTION in erasures:
        return Erasure.AFTER_COMPACTION
    return Erasure.ERASED if erasures == {Erasure.ERASED} else None


def deletion_to_proto(deletion: Deletion, response: Callable[..., M]) -> M:
    """A response of that type, which lists the encoders."""
    return response(encoders=[_encoder_deletion(each) for each in deletion.encoders])


def _encoder_deletion(deletion: EncoderDeletion) -> decoder_pb2.EncoderDeletion:
    if deletion.deleted is None:
        return decoder_pb2.EncoderDeletion(encoder=deletion.encoder, reason=deletion.reason)
    return decoder_pb2.EncoderDeletion(encoder=deletion.encoder, confirmed=True, **_fields(deletion.deleted))


def deletion_from_proto(message: Any) -> Deletion:
    return Deletion(
        tuple(
            EncoderDeletion(each.encoder, deleted_from_proto(each) if each.confirmed else None, each.reason)
            for each in message.encoders
        )
    )


def cache_stats_to_proto(stats: CacheStats) -> encoder_pb2.GetCacheStatsResponse:
    return encoder_pb2.GetCacheStatsResponse(**vars(stats))


def cache_stats_from_proto(message: encoder_pb2.GetCacheStatsResponse) -> CacheStats:
    return CacheStats(**pick(message, CacheStats.__dataclass_fields__))


def deleted_to_proto(deleted: Deleted, response: Callable[..., M]) -> M:
    """A response of that type, which has the fields of Deleted."""
    return response(**_fields(deleted))


def deleted_from_proto(message: Any) -> Deleted:
    return Deleted(message.uploads, message.records, message.bytes, ERASURE.from_proto(message.erasure))


def _fields(deleted: Deleted) -> dict[str, Any]:
    return {**vars(deleted), "erasure": ERASURE.to_proto(deleted.erasure)}
