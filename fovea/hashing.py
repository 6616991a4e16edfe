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
