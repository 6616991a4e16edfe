"""Slots of an arena: no sequence of operations lets a writer touch bytes that are being read."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from encoder_svc.slots import ALIGN, Slot, Slots
from fovea.contract.errors import ArenaFull

START, END, LEASE_S = 4096, 4096 + 1000, 10.0


class SlotsMachine(RuleBasedStateMachine):
    """Compares the slots with a plain list of readers and their expiry."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.slots: Slots[int] = Slots(START, END, LEASE_S, lambda: self.now)
        self.known: dict[int, Slot] = {}
        self.read: dict[str, tuple[Slot, float]] = {}

    def reading(self) -> list[Slot]:
        return [slot for slot, until in self.read.values() if until > self.now]

    def live(self) -> list[Slot]:
        kept = [slot for key, slot in self.known.items() if self.slots.is_at(key, slot)]
        return list({id(slot): slot for slot in [*kept, *self.reading()]}.values())

    @rule(key=st.integers(0, 9), length=st.integers(1, 700), held=st.booleans())
    def place(self, key: int, length: int, held: bool) -> None:
        if self.slots.find(key) is not None:
            return
        kept = [key for key, slot in self.known.items() if self.slots.is_at(key, slot)]
        try:
            slot = self.slots.place(key, length)
        except ArenaFull:
            assert all(self.slots.is_at(key, self.known[key]) for key in kept), (
                "a failed placement evicts nothing"
            )
            return
        self.known[key] = slot
        if held:
            self.read[self.slots.hold(slot)] = (slot, float("inf"))

    @rule(key=st.integers(0, 9))
    def lease(self, key: int) -> None:
        slot = self.slots.find(key)
        if slot is not None:
            assert slot is self.known[key]
            self.read[self.slots.lease(slot)] = (slot, self.now + LEASE_S)

    @precondition(lambda self: self.read)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(list(self.read)))  # oldest first: their ids are random
        _, until = self.read.pop(lease)
        assert self.slots.release(lease) == (until > self.now)
        assert not self.slots.release(lease)

    @rule(key=st.integers(0, 9))
    def drop(self, key: int) -> None:
        self.slots.drop(lambda other: other == key)
        assert self.slots.find(key) is None

    @rule(seconds=st.sampled_from([1.0, 6.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def no_two_overlap(self) -> None:
        """Includes leased slots whose keys are gone, so a lease outlives every eviction."""
        slots = sorted(self.live(), key=lambda slot: slot.offset)
        assert all(before.end <= after.offset for before, after in pairwise(slots))
        assert all(slot.offset >= START and slot.end <= END for slot in slots)
        assert self.slots.leases == len(self.reading())
        assert self.slots.used_bytes == sum(slot.length for slot in slots)


SlotsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestSlotsMachine = SlotsMachine.TestCase


def test_eviction_takes_the_least_recently_used_and_never_a_leased_slot() -> None:
    slots: Slots[str] = Slots(0, 3 * ALIGN, LEASE_S, lambda: 0.0)
    first, *_ = [slots.place(key, ALIGN) for key in "abc"]
    lease = slots.lease(first)
    slots.find("b")
    slots.place("d", ALIGN)
    assert [key for key in "abcd" if slots.find(key)] == ["a", "b", "d"]
    with pytest.raises(ArenaFull) as raised:
        slots.place("e", 3 * ALIGN)
    assert raised.value.metadata == {"limit": str(3 * ALIGN), "actual": str(3 * ALIGN)}
    assert [key for key in "abcd" if slots.find(key)] == ["a", "b", "d"]
    assert slots.release(lease)
    assert slots.place("e", 3 * ALIGN).offset == 0


def test_an_expired_lease_pins_nothing() -> None:
    now = [0.0]
    slots: Slots[str] = Slots(0, ALIGN, LEASE_S, lambda: now[0])
    lease = slots.lease(slots.place("a", ALIGN))
    with pytest.raises(ArenaFull):
        slots.place("b", ALIGN)
    now[0] = LEASE_S
    slots.place("b", ALIGN)
    assert slots.find("a") is None
    assert not slots.release(lease)


def test_releasing_a_lease_looks_at_no_other() -> None:
    """Otherwise a caller that releases many leases holds the event loop."""
    slots: Slots[int] = Slots(START, END, LEASE_S, lambda: 0.0)
    slot = slots.place(0, 1)
    slot.leases = expiries = Counted()
    leases = [slots.lease(slot) for _ in range(100)]
    assert all(slots.release(lease) for lease in leases)
    assert expiries.reads <= len(leases)


class Counted(dict[str, float]):
    reads = 0

    def __getitem__(self, key: str) -> float:
        self.reads += 1
        return super().__getitem__(key)
