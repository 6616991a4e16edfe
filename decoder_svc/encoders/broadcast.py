"""Sends the chunks of an upload to several encoders in lockstep.

A chunk is let go once every encoder that still reads has taken it, so an upload holds a few chunks of memory,
however large it is. An encoder that stops reading is left behind. Independent of gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

_Item = bytes | BaseException | None
"""A chunk, the failure of the source, or its end."""


class Broadcast:
    """The chunks of `source` for `count` readers, each of which iterates over `readers[i]`."""

    def __init__(self, source: AsyncIterator[bytes], count: int) -> None:
        self._source = source
        self._queues: list[asyncio.Queue[_Item]] = [asyncio.Queue(1) for _ in range(count)]
        self._reading = set(range(count))
        self.readers = [self._chunks(number) for number in range(count)]

    async def run(self) -> None:
        """Read the source to its end. Its failure is raised to the readers."""
        end: _Item = None
        try:
            async for chunk in self._source:
                await self._put(chunk)
        except Exception as error:  # a reader raises it
            end = error
        await self._put(end)

    async def _put(self, item: _Item) -> None:
        await asyncio.gather(*(self._queues[number].put(item) for number in self._reading))

    async def _chunks(self, number: int) -> AsyncGenerator[bytes, None]:
        queue = self._queues[number]
        try:
            while (item := await queue.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            self.leave(number)

    def leave(self, number: int) -> None:
        """Stop waiting for this reader."""
        self._reading.discard(number)
        while not self._queues[number].empty():
            self._queues[number].get_nowait()


async def as_stream(data: bytes) -> AsyncGenerator[bytes, None]:
    """An upload whose bytes are here already."""
    yield data
