"""Rows in shared memory for decoders on the same host: written there once, then leased to whoever asks.

A lease is answered after the same checks as a stream, under the same key as in the store and the same choice
of rows: another tenant, plan or dtype never answers. Rows that are found here count as used in the store, so
that both let go of the same rows first. Knows encoder, slots and arena; knows no protobuf.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import xxhash

from encoder_svc.core import EncodeJob, ServedRows, Timings
from encoder_svc.encoder import Encoder
from encoder_svc.slots import Slot, Slots
from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import RowKey
from fovea.arena import PAGE, Arena
from fovea.contract.errors import ArenaFull
from fovea.contract.plan import RowSelection
from fovea.contract.rows import RowOrigin, chunks


@dataclass(frozen=True)
class Leased:
    """Where rows lie, the XXH3 of each chunk, and until when; `expires` in seconds since the epoch.

    `served.rows.data` is a view of the arena, and shows other rows after the lease.
    """

    served: ServedRows
    offset: int
    checks: tuple[int, ...]
    lease: str
    expires: float


@dataclass(frozen=True)
class ArenaUse:
    """What lies in the arena, and how much of it is being read."""

    used_bytes: int = 0
    leases: int = 0


@dataclass(frozen=True)
class _Filled:
    served: ServedRows
    checks: tuple[int, ...]


class RowLeases:
    """Leases of one arena, which it closes. Lives in one event loop."""

    def __init__(self, arena: Arena, lease_s: float) -> None:
        self.arena = arena.id
        self._arena = arena
        self._slots: Slots[tuple[RowKey, RowSelection]] = Slots(PAGE, PAGE + arena.size, lease_s)
        self._fills: WeakKeyDictionary[Slot, asyncio.Task[_Filled]] = WeakKeyDictionary()

    async def close(self) -> None:
        """Wait for rows that are being written; the file goes then."""
        await asyncio.gather(*self._fills.values(), return_exceptions=True)
        self._arena.close()

    def use(self) -> ArenaUse:
        return ArenaUse(self._slots.used_bytes, self._slots.leases)

    async def lease(self, encoder: Encoder, asked: EncodeJob) -> Leased:
        """Raises ArenaFull, before anything is computed where the size of the image tells how many rows there
        are, and what encoding raises.
        """
        slot = self._slots.find(asked.slot)
        if slot is None:
            length = await encoder.length(asked)
            slot = self._slots.find(asked.slot)  # again: another call may have placed it meanwhile
        if slot is None:
            slot = self._slots.place(asked.slot, length)
            self._fills[slot] = self._filling(slot, encoder, asked)
            return await self._leased(slot)
        waited = not self._fills[slot].done()
        leased = await self._leased(slot)
        encoder.used(asked)
        return replace(leased, served=_again(leased.served, asked, waited))

    def release(self, leases: Iterable[str]) -> int:
        """How many of them had not ended."""
        return sum(map(self._slots.release, leases))

    def drop(self, tenant: bytes, pixels: bytes) -> None:
        """The rows of an image answer no more, under any plan."""
        self._slots.drop(lambda key: (key[0].tenant, key[0].pixels) == (tenant, pixels))

    async def _leased(self, slot: Slot) -> Leased:
        """Once it is filled; pinned until the lease is taken, for the image may be removed meanwhile. Who
        leaves does not end the writing, which others may wait for.
        """
        pin = self._slots.hold(slot)
        try:
            filled = await asyncio.shield(self._fills[slot])
            expires = time.time() + self._slots.lease_s
            return Leased(filled.served, slot.offset, filled.checks, self._slots.lease(slot), expires)
        finally:
            self._slots.release(pin)

    def _filling(self, slot: Slot, encoder: Encoder, asked: EncodeJob) -> asyncio.Task[_Filled]:
        """Pinned until the last byte is written, so that nothing is written into the slot of another key."""
        pin = self._slots.hold(slot)

        def ended(fill: asyncio.Task[_Filled]) -> None:
            self._slots.release(pin)
            if fill.cancelled() or fill.exception():
                self._slots.drop(lambda key: self._slots.is_at(key, slot))

        fill = asyncio.create_task(self._fill(slot, encoder, asked))
        fill.add_done_callback(ended)
        return fill

    async def _fill(self, slot: Slot, encoder: Encoder, asked: EncodeJob) -> _Filled:
        served = await encoder.rows(asked)
        rows = served.rows
        if rows.data.nbytes > slot.length:
            raise ArenaFull(rows.data.nbytes, slot.length)
        checks = await asyncio.to_thread(self._write, slot.offset, rows)
        here = replace(rows, data=self._arena.view(slot.offset, rows.data.nbytes))
        return _Filled(replace(served, rows=here), checks)

    def _write(self, offset: int, rows: StoredRows) -> tuple[int, ...]:
        pieces = [piece for _, piece in chunks(rows.data, rows.layout)]
        self._arena.write(offset, pieces)
        return tuple(xxhash.xxh3_64_intdigest(piece) for piece in pieces)


def _again(served: ServedRows, asked: EncodeJob, waited: bool) -> ServedRows:
    """As it is told to those who did not bring the rows here: joined where they came for another call."""
    timings = Timings(total_ms=(time.perf_counter() - asked.began) * 1000)
    if waited and served.origin is RowOrigin.ENCODED:
        return replace(served, asked=asked, timings=timings, joined=True)
    return replace(served, asked=asked, origin=RowOrigin.STORE, timings=timings, joined=False)
