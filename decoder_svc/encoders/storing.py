"""Stores an upload with the encoders of several models: each reads its images from encoders of its own tower.

The decoder's own encoders decide whether the upload succeeds. A tier whose encoders did not store an image
passes requests about it on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import structlog

from decoder_svc.encoders.broadcast import Broadcast
from decoder_svc.encoders.fleet import Fleet
from fovea.contract.image import StoredImage
from fovea.deadline import Deadline

log = structlog.get_logger()


async def put_everywhere(
    fleets: Sequence[Fleet], digest: str, chunks: AsyncIterator[bytes], deadline: Deadline
) -> StoredImage:
    """Store an upload with every fleet. Raises the failure of the first; others are only logged."""
    if len(fleets) == 1:
        return await fleets[0].put(digest, chunks, deadline)
    upload = Broadcast(chunks, len(fleets))
    running = asyncio.create_task(upload.run())
    try:
        first, *others = await asyncio.gather(
            *(_put(fleet, digest, upload, number, deadline) for number, fleet in enumerate(fleets)),
            return_exceptions=True,
        )
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    for fleet, result in zip(fleets[1:], others, strict=True):
        if isinstance(result, BaseException):
            log.warning("upload_not_stored", encoders=fleet.source, error=type(result).__name__)
    return first


async def _put(fleet: Fleet, digest: str, upload: Broadcast, number: int, deadline: Deadline) -> StoredImage:
    try:
        return await fleet.put(digest, upload.readers[number], deadline)
    finally:
        upload.leave(number)
