"""A second level on real servers, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from encoder_svc.permits import WritePermit, WritePermits
from encoder_svc.shared.cache import SharedCache
from encoder_svc.shared.level import SharedLimits
from encoder_svc.shared.servers import Servers
from encoder_svc.tenant import Tenant

MIB = 1024 * 1024
LIMITS = SharedLimits(read_s=10, write_s=10, rest_s=0.05, connections=4, queue_bytes=64 * MIB, ttl_s=3600)
"""Generous: a busy machine must not make a server look slow."""
TENANT = Tenant.of("alice")


def opener(urls: Sequence[str], **changes: Any) -> Callable[[WritePermits], SharedCache]:
    """What opens a second level on these servers."""
    limits = replace(LIMITS, **changes)
    return lambda permits: SharedCache(Servers(urls, limits), limits, permits)


@asynccontextmanager
async def opened(
    *urls: str, permits: WritePermits | None = None, **changes: Any
) -> AsyncIterator[SharedCache]:
    cache = opener(urls, **changes)(permits or WritePermits())
    await cache.start()
    try:
        yield cache
    finally:
        await cache.close()


def permit(tenant: Tenant = TENANT) -> WritePermit:
    return WritePermits().issue(tenant)


def count(cache: SharedCache, kind: str, event: str) -> int:
    return cache.stats().events.get((kind, event), 0)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)
