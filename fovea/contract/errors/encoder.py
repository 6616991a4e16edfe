"""Failures of encoders, their stores and their rows."""

from __future__ import annotations

import grpc

from fovea.contract.errors.base import FoveaError


class EncoderBusy(FoveaError):
    """The queue of the vision tower is full. Retry later or on another encoder."""

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
    """No encoder that owns the image responds."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENCODER_UNAVAILABLE"


class EncoderMismatch(FoveaError):
    """The encoder serves another model, so its rows mean nothing to this decoder."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ENCODER_MISMATCH"


class RowsMismatch(FoveaError):
    """The rows of an image do not fit the prompt: wrong count, order, size or layout."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "ROWS_MISMATCH"


class RowsNotFinite(FoveaError):
    """A row holds a value that is not finite in the compute dtype."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "ROWS_NOT_FINITE"

    def __init__(self, where: str, row: int, dtype: str) -> None:
        super().__init__(
            f"{where}: row {row} holds a value that is not finite in {dtype}",
            row=row,
            dtype=dtype,
        )


class StoreFull(FoveaError):
    """An upload could not be stored: the disk is full, or it exceeds the whole partition."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "STORE_FULL"

    def __init__(self, why: str, actual: int) -> None:
        super().__init__(f"the image of {actual} bytes could not be stored: {why}", why=why, actual=actual)


class ArenaFull(FoveaError):
    """The arena has no room beside the leased rows. Callers fall back to the Encode stream."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ARENA_FULL"

    def __init__(self, actual: int, limit: int) -> None:
        super().__init__(
            f"{actual} bytes of rows do not fit the arena of {limit} bytes", limit=limit, actual=actual
        )


class StoreInUse(FoveaError):
    """Another store has this directory open: LMDB allows one environment per file and process."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "STORE_IN_USE"


class StoreFailed(FoveaError):
    """The disk or LMDB failed where a miss is no answer: opening, counting, deleting."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "STORE_FAILED"


class StoreClosed(FoveaError):
    """A call after `close`."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "STORE_CLOSED"


class StoreForked(FoveaError):
    """A call in a forked child. LMDB's locks and map do not survive fork; use spawn."""

    reason = "STORE_FORKED"
