"""Shares a fetch between several places of a prompt, so that the rows are transferred once.

Received chunks are held until the request ends. A reader that closes early ends the fetch for all readers,
because then the request itself is ending.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from decoder_svc.encoders.source import RowFetch
from decoder_svc.engine.protocol import RowChunk
from fovea.contract.errors import FoveaError


class RowFanout:
    """The chunks of a fetch for any number of readers. The reader that is ahead advances the fetch."""

    def __init__(self, fetch: RowFetch) -> None:
        self._source = fetch.chunks()
        self._arrived: list[RowChunk] = []
        self._lock = asyncio.Lock()
        self._failure: FoveaError | None = None
        self._ended = False

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        """All chunks from the first. Raises what the fetch raised."""
        at, complete = 0, False
        try:
            while await self._available(at):
                yield self._arrived[at]
                at += 1
            complete = True
        finally:
            if not complete:
                async with self._lock:
                    await self._source.aclose()

    async def _available(self, at: int) -> bool:
        """Wait for chunk `at` or the end of the fetch. Returns whether the chunk exists."""
        async with self._lock:
            if at == len(self._arrived) and not self._ended:
                await self._advance()
        if self._failure is not None:
            raise self._failure
        return at < len(self._arrived)

    async def _advance(self) -> None:
        try:
            self._arrived.append(await anext(self._source))
        except StopAsyncIteration:
            self._ended = True
        except FoveaError as error:  # raised to every reader
            self._failure, self._ended = error, True
