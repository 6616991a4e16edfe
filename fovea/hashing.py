"""SHA-256 of bytes of any size, without holding up the event loop."""

from __future__ import annotations

import asyncio
import hashlib

from fovea.contract.rows import digest

LARGE_BYTES = 256 * 1024
"""Above this, hashing takes longer than handing it to a thread, and long enough to delay other calls."""


async def digest_of(data: bytes) -> str:
    """The public id of bytes."""
    return digest(data) if len(data) < LARGE_BYTES else await asyncio.to_thread(digest, data)


async def update(hasher: hashlib._Hash, data: bytes) -> None:
    if len(data) < LARGE_BYTES:
        hasher.update(data)
    else:
        await asyncio.to_thread(hasher.update, data)


class RunningDigest:
    """The digest of a stream, piece by piece. `add` returns at once: a thread hashes while pieces arrive."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pieces: list[bytes | memoryview] = []
        self._hashing: asyncio.Task[None] | None = None

    def add(self, piece: bytes | memoryview) -> None:
        self._pieces.append(piece)
        if self._hashing is None:
            self._hashing = asyncio.create_task(self._drain())

    async def digest(self) -> str:
        """The digest of all pieces, in the form of a public id."""
        while self._hashing is not None:
            await self._hashing
        return f"sha256:{self._hash.hexdigest()}"

    async def _drain(self) -> None:
        try:
            while self._pieces:
                pieces, self._pieces = self._pieces, []
                await asyncio.to_thread(self._update, pieces)
        finally:
            self._hashing = None

    def _update(self, pieces: list[bytes | memoryview]) -> None:
        for piece in pieces:
            self._hash.update(piece)
