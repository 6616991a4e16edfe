"""What can go wrong with the store as a whole. A lost or damaged record is no error but a miss."""

from __future__ import annotations

import grpc
import lmdb

from fovea.contract.errors import FoveaError


class Unsound(lmdb.CorruptedError):
    """Tables of the store that contradict each other. Handled as LMDB's own word for damaged pages."""


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
