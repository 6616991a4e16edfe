"""A bound on how many patches lie prepared before the tower, so that a burst of large images fits
the memory.
"""

from __future__ import annotations

import asyncio


class PatchLimiter:
    """Strictly first come, first served: a large image is not overtaken for ever by small ones.

    One that is larger than the whole room is let in when the room is empty.
    """

    def __init__(self, patches: int) -> None:
        self._size = patches
        self._held = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @property
    def held(self) -> int:
        return self._held

    async def acquire(self, patches: int) -> None:
        async with self._turn:
            while self._held and self._held + patches > self._size:
                self._freed.clear()
                await self._freed.wait()
            self._held += patches

    def release(self, patches: int) -> None:
        self._held -= patches
        self._freed.set()
