"""The decoder protocol. It exists because a decoder may have to be killed, and a thread cannot be.

`ThreadDecoder` decodes in threads of this process. A process with memory and time limits that may be killed
safely fits the same protocol.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from encoder_svc.images.decode import DecodedImage, Pixels, decode, pixels
from encoder_svc.images.limits import ImageLimits


class Decoder(Protocol):
    """Decodes a file into a DecodedImage. Raises what `decode` raises."""

    async def decode(self, data: bytes) -> DecodedImage: ...

    async def pixels(self, data: bytes) -> Pixels:
        """`DecodedImage.rgb` alone, for an image that was decoded before."""
        ...

    def close(self) -> None: ...


class ThreadDecoder:
    """Decodes at most `threads` files at a time, in order. Pillow releases the GIL meanwhile."""

    def __init__(self, limits: ImageLimits, threads: int = 2) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    async def decode(self, data: bytes) -> DecodedImage:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, decode, data, self._limits)

    async def pixels(self, data: bytes) -> Pixels:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, pixels, data, self._limits)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
