"""Write permits: keep a deleted image from being stored again by work that began before its deletion.

A job holds a permit from before it reads the image's facts. A deletion revokes the permits of the image, then
waits for the writes that have begun, and deletes what they wrote. Confined to an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakSet

from encoder_svc.tenant import Tenant


@dataclass(eq=False)
class WritePermit:
    """Permission to store what a job computes. `pixels` is None until the facts of the image are known."""

    tenant: Tenant
    pixels: bytes | None = None
    revoked: bool = False

    def covers(self, tenant: Tenant, pixels: bytes) -> bool:
        """Whether it may be for rows of these pixels."""
        return self.tenant.rows == tenant.rows and self.pixels in (None, pixels)


class WritePermits:
    """The permits of all jobs that still exist."""

    def __init__(self) -> None:
        self._issued: WeakSet[WritePermit] = WeakSet()
        self._writes: dict[asyncio.Future[None], WritePermit] = {}

    def issue(self, tenant: Tenant) -> WritePermit:
        permit = WritePermit(tenant)
        self._issued.add(permit)
        return permit

    @contextmanager
    def write(self, permit: WritePermit) -> Iterator[bool]:
        """A write; yields whether it is still permitted. A deletion waits for the end of the block."""
        if permit.revoked:
            yield False
            return
        ended = asyncio.get_running_loop().create_future()
        self._writes[ended] = permit
        try:
            yield True
        finally:
            del self._writes[ended]
            ended.set_result(None)

    async def revoke(self, matches: Callable[[WritePermit], bool]) -> None:
        """Forbid further writes of these permits, and wait for the writes that have begun."""
        for permit in filter(matches, list(self._issued)):
            permit.revoked = True
        begun = [ended for ended, permit in self._writes.items() if matches(permit)]
        if begun:
            await asyncio.wait(begun)
