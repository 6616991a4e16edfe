"""A deletion on every encoder: any of them may hold uploads or rows, wherever an image ranks now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from decoder_svc.encoders.remote import RemoteEncoder
from fovea.contract.cache import Deleted, Deletion, EncoderDeletion
from fovea.contract.errors import FoveaError

log = structlog.get_logger()
Delete = Callable[[RemoteEncoder], Awaitable[Deleted]]


async def delete_everywhere(encoders: Iterable[RemoteEncoder], delete: Delete) -> Deletion:
    """Call all encoders concurrently. The result names those that did not confirm, and why."""
    return Deletion(tuple(await asyncio.gather(*(_delete_on(encoder, delete) for encoder in encoders))))


async def _delete_on(encoder: RemoteEncoder, delete: Delete) -> EncoderDeletion:
    try:
        return EncoderDeletion(encoder.address, await delete(encoder))
    except FoveaError as error:
        log.warning("deletion_not_confirmed", encoder=encoder.address, reason=error.reason)
        return EncoderDeletion(encoder.address, None, error.reason)
