"""The current set of encoders. New encoders receive images at once; removed encoders close after their calls.

A request holds the fleet it started with, so that it reads its images from the encoders that stored them.
The pool counts the holders of each encoder. Its callers supply the addresses; `fleet` selects among them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog

from decoder_svc.encoders.fleet import EncoderStatus, Fleet
from decoder_svc.encoders.known import KnownByTenant
from decoder_svc.encoders.remote import LIMIT_S, RemoteEncoder
from fovea.access.channel import ClientCredentials
from fovea.deadline import Deadline
from fovea.server.identity import DEFAULT_TENANT

log = structlog.get_logger()


class EncoderPool:
    """The current fleet, and every encoder that is still open. Lives in a single event loop."""

    def __init__(
        self,
        fleet: Fleet,
        addresses: Iterable[str] = (),
        limit_s: float = LIMIT_S,
        credentials: ClientCredentials | None = None,
    ) -> None:
        """`fleet` has no encoders yet."""
        self._limit_s = limit_s
        self._credentials = credentials or ClientCredentials()
        self._fleet = fleet
        self._known = KnownByTenant()
        self._holders: Counter[RemoteEncoder] = Counter()
        self._closing: set[asyncio.Task[None]] = set()
        self.update(addresses)

    def update(self, addresses: Iterable[str]) -> None:
        """Replace the set of encoders. Encoders in both sets keep their connection."""
        old = self._fleet.encoders
        new = {address: old.get(address) or self._encoder(address) for address in addresses}
        for address in sorted(new.keys() - old.keys()):
            log.info("encoder joined", encoder=address)
        for address in sorted(old.keys() - new.keys()):
            log.info("encoder left", encoder=address)
        self._fleet = replace(self._fleet, encoders=new)
        self._holders.update(new.values())
        self._release(old.values())

    def _encoder(self, address: str) -> RemoteEncoder:
        return RemoteEncoder(
            address, self._limit_s, self._credentials, replaceable=lambda: self._others_up(address)
        )

    def _others_up(self, address: str) -> bool:
        """Whether an encoder at another address answers calls."""
        return any(up for other, up in self.up().items() if other != address)

    @contextmanager
    def held(self, tenant: str = DEFAULT_TENANT) -> Iterator[Fleet]:
        """The current fleet with what is known of this tenant's images; its encoders stay open until the
        block ends.
        """
        fleet = self._fleet
        self._holders.update(fleet.encoders.values())
        try:
            yield replace(fleet, known=self._known.of(tenant))
        finally:
            self._release(fleet.encoders.values())

    def forget(self, tenant: str, digest: str = "") -> None:
        """Forget what is known of an image of a tenant, or of all its images."""
        self._known.forget(tenant, digest)

    def _release(self, encoders: Iterable[RemoteEncoder]) -> None:
        for encoder in encoders:
            self._holders[encoder] -= 1
            if not self._holders[encoder]:
                del self._holders[encoder]
                task = asyncio.create_task(encoder.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    def up(self) -> dict[str, bool]:
        """Whether each encoder answered when last called, by address."""
        return {address: not e.link.breaker.open for address, e in self._fleet.encoders.items()}

    async def states(self, deadline: Deadline) -> list[EncoderStatus]:
        with self.held() as fleet:
            return await fleet.states(deadline)

    async def close(self) -> None:
        """Close all encoders, held or not. The pool is unusable afterwards."""
        await asyncio.gather(*self._closing, *(encoder.close() for encoder in self._holders))
