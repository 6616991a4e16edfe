"""Rows in shared memory for decoders on the same host: written once, then leased to each caller.

A lease passes the same checks as a stream and uses the same key and selection, so rows of another tenant,
plan or dtype never match. A hit here counts as a use in the store, so both evict the same rows first. Uses
encoder, slots and arena; independent of protobuf.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias
from weakref import WeakKeyDictionary

import xxhash

from encoder_svc.core import EncodeJob, ServedRows
from encoder_svc.encoder import Encoder
from encoder_svc.slots import Slot, Slots
from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import RowKey
from encoder_svc.tenant import Tenant
from encoder_svc.vision.output import Timings
from fovea.arena import PAGE, Arena
from fovea.contract.errors import ArenaFull
from fovea.contract.plan import RowSelection
from fovea.contract.rows import RowOrigin, chunks

_Filled: TypeAlias = tuple[ServedRows, tuple[int, ...]]
"""The rows in a slot, and the XXH3 of each chunk."""


@dataclass(frozen=True)
class RowLease:
    """Offset of the rows, the XXH3 of each chunk, and the expiry; `expires` in seconds since the epoch.

    `served.rows.data` is a view of the arena. Its content may change after the lease ends.
    """

    served: ServedRows
    offset: int
    checks: tuple[int, ...]
    lease: str
    expires: float


@dataclass(frozen=True)
class ArenaUse:
    """Bytes of rows in the arena, and the leases that pin some of them."""

    used_bytes: int = 0
    leases: int = 0


class RowLeases:
    """Leases of an arena, which it closes. Confined to an event loop.

    Concurrent callers share the fill of a slot. This is no SingleFlight: a fill is remembered as long as its
    slot, not until a write, and a key has two slots while a dropped slot is still being read.
    """

    def __init__(self, encoder: Encoder, arena: Arena, lease_s: float) -> None:
        self.arena = arena.id
        self._encoder = encoder
        self._arena = arena
        self._slots: Slots[tuple[RowKey, RowSelection]] = Slots(PAGE, PAGE + arena.size, lease_s)
        self._fills: WeakKeyDictionary[Slot, asyncio.Task[_Filled]] = WeakKeyDictionary()

    async def close(self) -> None:
        """Wait for running writes, then remove the arena file."""
        await asyncio.gather(*self._fills.values(), return_exceptions=True)
        self._arena.close()

    def use(self) -> ArenaUse:
        return ArenaUse(self._slots.used_bytes, self._slots.leases)

    async def lease(self, job: EncodeJob) -> RowLease:
        """Raises ArenaFull, before any computation if the image size decides the row count, and what encoding
        raises.
        """
        slot = self._slots.find(job.slot_key)
        if slot is None:
            length = await self._encoder.length(job)
            slot = self._slots.find(job.slot_key)  # another call may have placed it meanwhile
        if slot is None:
            slot = self._slots.place(job.slot_key, length)
            self._fills[slot] = self._filling(slot, job)
            return await self._leased(slot, job)
        waited = not self._fills[slot].done()
        leased = await self._leased(slot, job)
        self._encoder.cache.note_use(job)
        return replace(leased, served=_served_again(leased.served, job, waited))

    def release(self, tenant: Tenant, leases: Iterable[str]) -> int:
        """Count of the leases that were still valid. Leases of another tenant stay."""
        return sum(self._slots.release(lease, tenant.name) for lease in leases)

    def drop(self, matches: Callable[[RowKey], bool]) -> None:
        """Forget the rows whose keys match, under every selection."""
        self._slots.drop(lambda key: matches(key[0]))

    async def _leased(self, slot: Slot, job: EncodeJob) -> RowLease:
        """Lease a slot once it is filled. A pin holds the slot until then, because the image may be deleted
        meanwhile. Cancelling the caller does not cancel the fill, which others may await.
        """
        pin = self._slots.hold(slot)
        try:
            served, checks = await asyncio.shield(self._fills[slot])
            expires = time.time() + self._slots.lease_s
            return RowLease(served, slot.offset, checks, self._slots.lease(slot, job.tenant.name), expires)
        finally:
            self._slots.release(pin)

    def _filling(self, slot: Slot, job: EncodeJob) -> asyncio.Task[_Filled]:
        """Fill a slot. A pin holds it until the last byte is written, so that no other key reuses it."""
        pin = self._slots.hold(slot)

        def ended(fill: asyncio.Task[_Filled]) -> None:
            self._slots.release(pin)
            if fill.cancelled() or fill.exception() or job.permit.revoked:
                self._slots.drop(lambda key: self._slots.is_at(key, slot))

        fill = asyncio.create_task(self._fill(slot, job))
        fill.add_done_callback(ended)
        return fill

    async def _fill(self, slot: Slot, job: EncodeJob) -> _Filled:
        served = await self._encoder.rows(job)
        rows = served.rows
        if rows.data.nbytes > slot.length:
            raise ArenaFull(rows.data.nbytes, slot.length)
        checks = await asyncio.to_thread(self._write, slot.offset, rows)
        here = replace(rows, data=self._arena.view(slot.offset, rows.data.nbytes))
        return replace(served, rows=here), checks

    def _write(self, offset: int, rows: StoredRows) -> tuple[int, ...]:
        pieces = [piece for _, piece in chunks(rows.data, rows.layout)]
        self._arena.write(offset, pieces)
        return tuple(xxhash.xxh3_64_intdigest(piece) for piece in pieces)


def _served_again(served: ServedRows, job: EncodeJob, waited: bool) -> ServedRows:
    """The receipt for a caller that did not fill the slot: joined if the fill was still running."""
    timings = Timings(total_ms=job.elapsed_ms)
    if waited and served.origin is RowOrigin.ENCODED:
        return replace(served, job=job, timings=timings, joined=True)
    return replace(served, job=job, origin=RowOrigin.STORE, timings=timings, joined=False)
