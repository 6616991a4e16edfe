"""The encoders now: one that joins gets images from then on, one that leaves is let go when its calls end.

A request holds the fleet that it began with, so that it finds its images where it has put them. This module
keeps count of who is held; which addresses there are, others say, and `fleet` chooses among them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import structlog

from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.fleet import EncoderStatus, ExpectedModel, Fleet
from decoder_svc.encoders.remote import LIMIT_S, RemoteEncoder
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from fovea.deadline import Deadline

log = structlog.get_logger()


class EncoderPool:
    """The fleet of the moment, and the peers that are still open. Lives in one event loop."""

    def __init__(
        self,
        expected: ExpectedModel,
        found_by: str,
        addresses: Iterable[str] = (),
        cache: RowCache | None = None,
        same_host: SharedMemoryReader | None = None,
        limit_s: float = LIMIT_S,
    ) -> None:
        self._limit_s = limit_s
        self._fleet = Fleet({}, expected, found_by, cache or RowCache(), same_host or SharedMemoryReader())
        self._holders: Counter[RemoteEncoder] = Counter()
        self._closing: set[asyncio.Task[None]] = set()
        self.update(addresses)

    def update(self, addresses: Iterable[str]) -> None:
        """These are the encoders from now on. Who stays keeps its connection."""
        old = self._fleet.peers
        new = {address: old.get(address) or RemoteEncoder(address, self._limit_s) for address in addresses}
        for address in sorted(new.keys() - old.keys()):
            log.info("encoder joined", encoder=address)
        for address in sorted(old.keys() - new.keys()):
            log.info("encoder left", encoder=address)
        self._fleet = replace(self._fleet, peers=new)
        self._holders.update(new.values())
        self._release(old.values())

    @contextmanager
    def held(self) -> Iterator[Fleet]:
        """The fleet as it is now; none of its peers is closed before the block ends."""
        fleet = self._fleet
        self._holders.update(fleet.peers.values())
        try:
            yield fleet
        finally:
            self._release(fleet.peers.values())

    def _release(self, peers: Iterable[RemoteEncoder]) -> None:
        for peer in peers:
            self._holders[peer] -= 1
            if not self._holders[peer]:
                del self._holders[peer]
                task = asyncio.create_task(peer.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def states(self, deadline: Deadline) -> list[EncoderStatus]:
        with self.held() as fleet:
            return await fleet.states(deadline)

    async def close(self) -> None:
        """Close all, held or not. The last thing that happens to a pool."""
        await asyncio.gather(*self._closing, *(peer.close() for peer in self._holders))
