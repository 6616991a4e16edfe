"""The request iterator of an upload, which keeps the exception that ended it.

gRPC iterates in a thread or task of its own. A failure there (a file that disappeared, a progress callback
that raises) would end as a status without a cause, as a cancelled task, or silently. Here the call is
cancelled, and the failure kept for the caller.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import grpc

BEGIN_S = 5.0


class UploadRequests:
    """Iterates over `requests` until they fail."""

    def __init__(self, requests: Iterator[Any]) -> None:
        self.failure: Exception | None = None
        self._requests = requests
        self._cancel: Callable[[], object] | None = None
        self._begun = threading.Event()
        self._lock = threading.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._requests)
        except StopIteration:
            raise
        except Exception as failure:  # any failure is raised to the caller of the upload
            # gRPC's thread may be here before the call is known. Requests that end uncancelled are an upload.
            self._begun.wait(BEGIN_S)
            with self._lock:
                self.failure = failure
                self._cancel_if_failed()
            raise StopIteration from None

    @contextmanager
    def cancelling(self, call: Any) -> Iterator[None]:
        """Cancel the call if the requests fail or the block ends. A failure of the requests is raised."""
        with self._lock:
            self._cancel = call.cancel
            self._begun.set()
            self._cancel_if_failed()
        try:
            yield
        except (grpc.RpcError, grpc.FutureCancelledError, asyncio.CancelledError):
            if self.failure is not None:
                raise self.failure from None
            raise
        finally:
            call.cancel()  # no effect on a finished call

    def _cancel_if_failed(self) -> None:
        if self.failure is not None and self._cancel is not None:
            self._cancel()
