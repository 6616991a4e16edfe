"""The requests of an upload on their way, and what went wrong while they were read.

gRPC iterates over them in a thread or a task of its own, where a failure (a file that went away, a progress
callback that raises) would end as a status without a cause, as a cancelled task, or not at all. Here the call
is cancelled, and the failure kept for the caller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Self


class Sending:
    """Iterates as `requests` does, up to its failure."""

    def __init__(self, requests: Iterator[Any]) -> None:
        self.failure: Exception | None = None
        self._requests = requests
        self._cancel: Callable[[], object] | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, request: Any) -> Self | None:
        """None for a request that is a message."""
        return cls(request) if isinstance(request, Iterator) else None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._requests)
        except StopIteration:
            raise
        except Exception as failure:  # whatever it is, the caller of the upload is the one to hear of it
            with self._lock:
                self.failure = failure
                self._end()
            raise StopIteration from None

    def ends(self, cancel: Callable[[], object]) -> None:
        """How to end the call. The requests may have failed before it was there to be ended."""
        with self._lock:
            self._cancel = cancel
            self._end()

    def _end(self) -> None:
        if self.failure is not None and self._cancel is not None:
            self._cancel()
