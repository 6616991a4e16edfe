"""Failures of encoders, their stores and their rows."""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors.base import FoveaError, TemplatedError


class EncoderBusy(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="ENCODER_BUSY"):
    """Too much work waits for the vision tower: `field` would be `actual`. Retry later."""

    text = "the vision tower is busy: {field} would be {actual:.6g}, and the limit is {limit:.6g}"
    info = "field={field} limit={limit:.6g} actual={actual:.6g}"
    field: str
    limit: float
    actual: float
    retry_after_s: float


class EncoderUnavailable(FoveaError, code=StatusCode.UNAVAILABLE, reason="ENCODER_UNAVAILABLE"):
    """No encoder that owns the image responds."""


class EncoderMismatch(FoveaError, code=StatusCode.FAILED_PRECONDITION, reason="ENCODER_MISMATCH"):
    """The encoder serves another model, so its rows mean nothing to this decoder."""


class RowsMismatch(FoveaError, code=StatusCode.DATA_LOSS, reason="ROWS_MISMATCH"):
    """The rows of an image do not fit the prompt: wrong count, order, size or layout."""


class RowsNotFinite(TemplatedError, code=StatusCode.DATA_LOSS, reason="ROWS_NOT_FINITE"):
    """A row holds a value that is not finite in the compute dtype."""

    text = "{where}: row {row} holds a value that is not finite in {dtype}"
    info = "row={row} dtype={dtype}"
    where: str
    row: int
    dtype: str


class StoreFull(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="STORE_FULL"):
    """An upload could not be stored: the disk is full, or it exceeds the whole partition."""

    text = "the image of {actual} bytes could not be stored: {why}"
    why: str
    actual: int


class ArenaFull(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="ARENA_FULL"):
    """The arena has no room beside the leased rows. Callers fall back to the Encode stream."""

    text = "{actual} bytes of rows do not fit the arena of {limit} bytes"
    info = "limit={limit} actual={actual}"
    actual: int
    limit: int


class StoreInUse(FoveaError, code=StatusCode.FAILED_PRECONDITION, reason="STORE_IN_USE"):
    """Another store has this directory open: LMDB allows one environment per file and process."""


class StoreFailed(FoveaError, code=StatusCode.UNAVAILABLE, reason="STORE_FAILED"):
    """The disk or LMDB failed in an operation that cannot end as a miss: opening, counting, deleting."""


class StoreClosed(FoveaError, code=StatusCode.UNAVAILABLE, reason="STORE_CLOSED"):
    """A call after `close`."""


class StoreForked(FoveaError, reason="STORE_FORKED"):
    """A call in a forked child. LMDB's locks and map do not survive fork; use spawn."""
