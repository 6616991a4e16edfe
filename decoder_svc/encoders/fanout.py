"""One fetch that is read in several places of a prompt: the rows travel once.

What has arrived is held until the request ends. Whoever leaves early ends it for all, because then the
request is leaving. Knows nothing of where rows come from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from decoder_svc.encoders.source import RowFetch
from decoder_svc.engine.protocol import RowChunk
from fovea.contract.errors import FoveaError


class RowFanout:
    """The chunks of a fetch for as many readers as come; the first that asks for more waits for it."""

    def __init__(self, fetch: RowFetch) -> None:
        self._source = fetch.chunks()
        self._arrived: list[RowChunk] = []
        self._turn = asyncio.Lock()
        self._failure: FoveaError | None = None
        self._ended = False

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        """All of them, from the first on. Raises what the fetch raised."""
        at, whole = 0, False
        try:
            while await self._reaches(at):
                yield self._arrived[at]
                at += 1
            whole = True
        finally:
            if not whole:
                async with self._turn:
                    await self._source.aclose()

    async def _reaches(self, at: int) -> bool:
        """Whether there is a chunk of this number, once that is known."""
        async with self._turn:
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
        except FoveaError as error:  # every reader is told
            self._failure, self._ended = error, True
