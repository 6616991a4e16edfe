"""Failures of an encoder, its store and its rows."""

from __future__ import annotations

import grpc

from fovea.contract.errors.base import FoveaError


class EncoderBusy(FoveaError):
    """The queue before the tower is full. Worth trying again, here later or on another encoder."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENCODER_BUSY"

    def __init__(self, waiting: int, limit: int, retry_after_s: float) -> None:
        super().__init__(
            f"{waiting} images wait for the vision tower; at most {limit} may",
            retry_after_s=retry_after_s,
            limit=limit,
            actual=waiting,
        )


class EncoderUnavailable(FoveaError):
    """No encoder that owns the image answers."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENCODER_UNAVAILABLE"


class EncoderMismatch(FoveaError):
    """The encoder serves another model: its rows mean nothing to this decoder."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ENCODER_MISMATCH"


class RowsMismatch(FoveaError):
    """The rows of an image are not what its place in the prompt needs: wrong count, order, size or
    layout.
    """

    code = grpc.StatusCode.DATA_LOSS
    reason = "ROWS_MISMATCH"


class RowsNotFinite(FoveaError):
    """A row holds a value that is not finite in the dtype that computes with it."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "ROWS_NOT_FINITE"

    def __init__(self, where: str, row: int, dtype: str) -> None:
        super().__init__(
            f"{where}: row {row} holds a value that is not finite in {dtype}",
            row=row,
            dtype=dtype,
        )


class StoreFull(FoveaError):
    """An upload that could not be kept: the disk refuses, or it is larger than the whole area."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "STORE_FULL"

    def __init__(self, why: str, actual: int) -> None:
        super().__init__(f"the image of {actual} bytes could not be stored: {why}", why=why, actual=actual)


class ArenaFull(FoveaError):
    """No room in shared memory beside what is leased. Worth asking for over the wire."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ARENA_FULL"

    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(
            f"{actual} bytes of rows find no place in the arena of {limit} bytes", limit=limit, actual=actual
        )


class StoreInUse(FoveaError):
    """Another store has this directory open: LMDB allows one environment per file and process."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "STORE_IN_USE"


class StoreFailed(FoveaError):
    """The disk or LMDB refused what cannot be answered with a miss: opening, counting, deleting."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "STORE_FAILED"


class StoreClosed(FoveaError):
    """A call after `close`."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "STORE_CLOSED"


class StoreForked(FoveaError):
    """A call in a child made by fork. LMDB's locks and map do not survive a fork: spawn instead."""

    reason = "STORE_FORKED"
