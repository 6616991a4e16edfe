"""What came out of a request, for the one who reads it, on its event loop.

The first tokens go out at once, later ones as one delta every so often: to wake a reader for every token
of every answer costs as much as computing them. Knows no model and no request.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from decoder_svc.engine.protocol import Delta


class DeltaQueue:
    """`interval_s` lies between two deltas, but for the first and the last; 0 holds nothing back."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._pending: Delta | None = None
        self._failure: BaseException | None = None
        self._awake = asyncio.Event()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def put(self, delta: Delta) -> None:
        self._pending = joined(self._pending, delta) if self._pending else delta
        if delta.finish_reason is not None or self._loop.time() >= self._due:
            self._awake.set()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._due, self._ring)

    def fail(self, failure: BaseException) -> None:
        """The request cannot go on; what the reader has not seen is lost, but for a whole answer."""
        if self._pending is not None and self._pending.finish_reason is not None:
            return
        self._failure = failure
        self._awake.set()

    async def next(self) -> Delta:
        """All that has come since the last one. Raises what ended the request."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            if self._failure is not None:
                raise self._failure
            if self._pending is not None:
                pending, self._pending = self._pending, None
                self._due = self._loop.time() + self._interval_s
                return pending

    def _ring(self) -> None:
        self._timer = None
        self._awake.set()


def joined(first: Delta, later: Delta) -> Delta:
    return replace(
        later,
        token_ids=first.token_ids + later.token_ids,
        text=first.text + later.text,
        logprobs=first.logprobs + later.logprobs,
    )
