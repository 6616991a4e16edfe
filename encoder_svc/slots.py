"""Slots of an arena: which bytes belong to which key, who reads them, and what is evicted first.

A leased slot is pinned until the lease is released or expires. Among the others the least recently used goes
first. A placement that cannot succeed evicts nothing. Handles keys and numbers; independent of files, rows
and protobuf. Confined to an event loop.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fovea.contract.errors import ArenaFull

K = TypeVar("K", bound=Hashable)
ALIGN = 64


@dataclass(eq=False)
class Slot:
    """`length` bytes at `offset`; `leases` maps each lease id to its expiry."""

    offset: int
    length: int
    leases: dict[str, float] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return self.offset + self.length


class Slots(Generic[K]):
    """Slots of an arena from `start` to `end`, keyed."""

    def __init__(
        self, start: int, end: int, lease_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.start = start
        self.end = end
        self.lease_s = lease_s
        self._clock = clock
        self._slots: OrderedDict[K, Slot] = OrderedDict()
        self._dropped: set[Slot] = set()
        self._leased: dict[str, Slot] = {}
        self._owners: OrderedDict[str, str] = OrderedDict()  # of leases with an expiry, the earliest first

    @property
    def leases(self) -> int:
        self._reclaim()
        return len(self._leased)

    @property
    def used_bytes(self) -> int:
        self._reclaim()
        return sum(slot.length for slot in self._live())

    def find(self, key: K) -> Slot | None:
        """The slot of a key; marks it as most recently used."""
        slot = self._slots.get(key)
        if slot is not None:
            self._slots.move_to_end(key)
        return slot

    def place(self, key: K, length: int) -> Slot:
        """A new slot for a key that has none. Raises ArenaFull."""
        self._reclaim()
        size = -(-length // ALIGN) * ALIGN
        pinned = [slot for slot in self._live() if slot.leases]
        if self._gap(pinned, size) is None:
            raise ArenaFull(length, self.end - self.start)
        while (offset := self._gap(list(self._live()), size)) is None:
            del self._slots[next(key for key, slot in self._slots.items() if not slot.leases)]
        slot = self._slots[key] = Slot(offset, size)
        return slot

    def lease(self, slot: Slot, owner: str = "") -> str:
        """Pin a slot for `lease_s`. The returned id cannot be guessed, and only `owner` can release it."""
        lease = self._pin(slot, self._clock() + self.lease_s)
        self._owners[lease] = owner
        return lease

    def hold(self, slot: Slot) -> str:
        """Pin a slot without expiry, for a writer."""
        return self._pin(slot, math.inf)

    def release(self, lease: str, owner: str = "") -> bool:
        """False if the lease does not exist, has expired, or has another owner."""
        self._reclaim()
        return self._owners.get(lease, "") == owner and self._end(lease)

    def is_at(self, key: K, slot: Slot) -> bool:
        return self._slots.get(key) is slot

    def drop(self, matches: Callable[[K], bool]) -> None:
        """Forget the matching keys. Their leased slots keep their bytes until the leases end."""
        for key in [key for key in self._slots if matches(key)]:
            slot = self._slots.pop(key)
            if slot.leases:
                self._dropped.add(slot)

    def _pin(self, slot: Slot, expires: float) -> str:
        lease = secrets.token_hex(16)
        slot.leases[lease] = expires
        self._leased[lease] = slot
        return lease

    def _live(self) -> Iterator[Slot]:
        yield from self._slots.values()
        yield from self._dropped

    def _gap(self, taken: list[Slot], size: int) -> int | None:
        """The first gap between `taken` of at least `size` bytes."""
        offset = self.start
        for slot in sorted(taken, key=lambda slot: slot.offset):
            if slot.offset - offset >= size:
                return offset
            offset = slot.end
        return offset if self.end - offset >= size else None

    def _reclaim(self) -> None:
        """End the expired leases. All last equally long, so they expire in the order of `_owners`."""
        now = self._clock()
        while self._owners:
            lease = next(iter(self._owners))
            if self._leased[lease].leases[lease] > now:
                return
            self._end(lease)

    def _end(self, lease: str) -> bool:
        slot = self._leased.pop(lease, None)
        if slot is None:
            return False
        del slot.leases[lease]
        self._owners.pop(lease, None)
        if not slot.leases:
            self._dropped.discard(slot)
        return True
