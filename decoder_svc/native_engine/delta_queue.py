"""What came out of a request, for the one who reads it, on its event loop.

The first tokens go out at once, later ones as one delta every so often: to wake a reader for every token
of every answer costs as much as computing them. What a slow reader has not taken is kept as plain lists, and
handed out in deltas that fit a message. Knows no model and no request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace

from decoder_svc.engine.protocol import Delta

MAX_TOKENS = 4096
"""Tokens of one delta: about 64 KiB with text and log-probabilities, far below what clients receive."""


@dataclass
class _Part:
    """Deltas that go out as one."""

    last: Delta
    token_ids: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)

    def add(self, delta: Delta) -> None:
        self.last = delta
        self.token_ids.extend(delta.token_ids)
        self.text.append(delta.text)
        self.logprobs.extend(delta.logprobs)

    def joined(self) -> Delta:
        return replace(
            self.last,
            token_ids=tuple(self.token_ids),
            text="".join(self.text),
            logprobs=tuple(self.logprobs),
        )


class DeltaQueue:
    """`interval_s` lies between two deltas, but for the first and the last; 0 holds nothing back."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_Part] = deque()
        self._failure: BaseException | None = None
        self._awake = asyncio.Event()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def put(self, delta: Delta) -> None:
        if not self._pending or len(self._pending[-1].token_ids) >= MAX_TOKENS:
            self._pending.append(_Part(delta))
        self._pending[-1].add(delta)
        if delta.finish_reason is not None or self._loop.time() >= self._due:
            self._awake.set()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._due, self._ring)

    def fail(self, failure: BaseException) -> None:
        """The request cannot go on; what the reader has not seen is lost, but for a whole answer."""
        if self._pending and self._pending[-1].last.finish_reason is not None:
            return
        self._failure = failure
        self._awake.set()

    async def next(self) -> Delta:
        """What has come since the last one, the rest of it with the next. Raises what ended the request."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            if self._failure is not None:
                raise self._failure
            if self._pending:
                self._due = self._loop.time() + self._interval_s
                part = self._pending.popleft()
                if self._pending:
                    self._awake.set()
                return part.joined()

    def _ring(self) -> None:
        self._timer = None
        self._awake.set()
