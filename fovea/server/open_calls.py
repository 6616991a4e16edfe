"""Counts the calls that run, so that a server can wait for the last of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class OpenCalls:
    """Lives in a single event loop."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        self._count += 1
        self._none.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._none.set()

    async def until_none(self, limit_s: float) -> None:
        """Wait until no call runs, for a limited time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), limit_s)
