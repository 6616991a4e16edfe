"""Limits the prepared patches that wait for the tower, so that a burst of large images fits in memory."""

from __future__ import annotations

import asyncio


class PatchLimiter:
    """First come, first served, so that small images never starve a large image.

    An image larger than the limit is admitted when nothing else is held.
    """

    def __init__(self, patches: int) -> None:
        self._max_patches = patches
        self._held = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @property
    def held(self) -> int:
        return self._held

    async def acquire(self, patches: int) -> None:
        async with self._turn:
            while self._held and self._held + patches > self._max_patches:
                self._freed.clear()
                await self._freed.wait()
            self._held += patches

    def release(self, patches: int) -> None:
        self._held -= patches
        self._freed.set()
