"""The deltas of a request on their way to the reader, on the reader's event loop.

The first tokens leave at once, later tokens as a single delta per interval: waking a reader for every token
of every answer costs as much as computing the tokens. Tokens that a slow reader has not taken are kept as
plain lists and leave in deltas that fit a message. Independent of models and requests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from decoder_svc.engine.protocol import Delta

MAX_TOKENS = 4096
"""Tokens of a delta: about 64 KiB with text and log-probabilities, 2 MiB with 20 alternatives of each token.
Clients receive 4 MiB.
"""

PARALLEL = ("token_ids", "logprobs", "token_bytes", "top_logprobs")
"""Fields of a delta with a value for each of its tokens, if they have any."""


@dataclass
class _MergedDelta:
    """Deltas that leave as a single delta."""

    last: Delta
    text: list[str] = field(default_factory=list)
    parallel: tuple[list[Any], ...] = field(default_factory=lambda: tuple([] for _ in PARALLEL))

    def add(self, delta: Delta) -> None:
        self.last = delta
        self.text.append(delta.text)
        for values, name in zip(self.parallel, PARALLEL, strict=True):
            values.extend(getattr(delta, name))

    @property
    def is_full(self) -> bool:
        return len(self.parallel[0]) >= MAX_TOKENS

    def merged(self) -> Delta:
        values: dict[str, Any] = dict(zip(PARALLEL, map(tuple, self.parallel), strict=True))
        return replace(self.last, text="".join(self.text), **values)


class DeltaQueue:
    """Deltas leave at least `interval_s` apart, except the first and the last. 0 delays nothing."""

    def __init__(self, interval_s: float = 0.0) -> None:
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_MergedDelta] = deque()
        self._failure: BaseException | None = None
        self._awake = asyncio.Event()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def put(self, delta: Delta) -> None:
        if not self._pending or self._pending[-1].is_full:
            self._pending.append(_MergedDelta(delta))
        self._pending[-1].add(delta)
        if delta.finish_reason is not None or self._loop.time() >= self._due:
            self._awake.set()
        elif self._timer is None:
            self._timer = self._loop.call_at(self._due, self._wake)

    def fail(self, failure: BaseException) -> None:
        """End the request with a failure. Deltas that wait are lost, unless they complete the answer."""
        if self._pending and self._pending[-1].last.finish_reason is not None:
            return
        self._failure = failure
        self._awake.set()

    async def next(self) -> Delta:
        """The deltas that wait, merged as far as a message allows. Raises what ended the request."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            if self._failure is not None:
                raise self._failure
            if self._pending:
                self._due = self._loop.time() + self._interval_s
                delta = self._pending.popleft().merged()
                if self._pending:
                    self._awake.set()
                return delta

    def _wake(self) -> None:
        self._timer = None
        self._awake.set()
