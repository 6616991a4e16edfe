"""The queue of calls that wait for a shared worker, on a clock of its own."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.server import fair_queue
from fovea.server.fair_queue import FairQueue, QueueLimits, Refusal, Waiter

LIMITS = QueueLimits(calls=20, cost=200)
HOURS = 1e6


def waiter(
    tenant: str = "a", cost: float = 1, seconds: float = 1, deadline: float = HOURS, arrived: float = 0
) -> Waiter:
    return Waiter(tenant=tenant, cost=cost, seconds=seconds, arrived=arrived, deadline=arrived + deadline)


def filled(*waiters: Waiter, limits: QueueLimits = LIMITS) -> FairQueue[Waiter]:
    queue: FairQueue[Waiter] = FairQueue(limits)
    for each in waiters:
        queue.add(each)
    return queue


def taken(queue: FairQueue[Waiter]) -> list[Waiter]:
    return [each for each in iter(queue.take, None) if each is not None]


def refused(queue: FairQueue[Waiter], new: Waiter, free_s: float = 0, workers: int = 1) -> str:
    refusal = queue.refusal(new, free_s, workers)
    return refusal.field if refusal else ""


def test_a_tenant_and_a_class_are_served_in_order_of_arrival() -> None:
    calls = [waiter(cost=cost) for cost in (5, 1, 3)]
    assert taken(filled(*calls)) == calls


def test_a_flood_delays_another_tenant_by_one_call() -> None:
    flood, small = [waiter("flood") for _ in range(15)], waiter("small")
    assert taken(filled(*flood, small)).index(small) <= 1


def test_a_tenant_without_work_saves_no_share_for_later() -> None:
    queue = filled(*(waiter("busy") for _ in range(10)))
    for _ in range(9):
        queue.take()
    for tenant in ("busy", "late"):
        for _ in range(4):
            queue.add(waiter(tenant))
    assert Counter(each.tenant for each in taken(queue)[:4])["late"] <= 3


def test_classes_of_deadlines_take_turns() -> None:
    patient = [waiter(deadline=30) for _ in range(10)]
    hurried = [waiter(deadline=1) for _ in range(3)]
    order = taken(filled(*patient, *hurried))
    assert [order.index(each) for each in hurried] == pytest.approx([1, 3, 5], abs=1)


def test_the_bounds_are_refused_one_past_the_limit_and_not_at_it() -> None:
    queue = filled(*(waiter() for _ in range(19)))
    assert refused(queue, waiter()) == ""
    queue.add(waiter())
    assert queue.refusal(waiter(), 0, 1) == Refusal("max_waiting", 20, 21, 20.0)
    queue = filled(waiter(cost=150))
    assert refused(queue, waiter(cost=50)) == ""
    assert queue.refusal(waiter(cost=51), 0, 1) == Refusal("max_waiting_tokens", 200, 201, 1.0)


def test_calls_that_wait_elsewhere_count() -> None:
    assert filled().refusal(waiter(), 0, 1, outside=20) == Refusal("max_waiting", 20, 21, 0.5)


def test_with_several_tenants_a_flood_leaves_places_for_others() -> None:
    limits = QueueLimits(calls=20, several_tenants=True)
    queue = filled(*(waiter("flood") for _ in range(10)), limits=limits)
    assert refused(queue, waiter("flood")) == "max_waiting"
    for name in "abcde":
        assert refused(queue, waiter(name)) == ""
        queue.add(waiter(name))


def test_a_call_that_would_wait_too_long_is_refused() -> None:
    """A class of 16 s, whose calls are between 11.3 and 22.6 s, waits for at most a quarter of 11.3 s."""
    queue = filled(waiter(seconds=5, deadline=16))
    longest_s = 0.25 * 16 / math.sqrt(2)
    assert refused(queue, waiter(deadline=16), workers=2) == ""
    refusal = queue.refusal(waiter(deadline=16), 0.4, 2)
    assert refusal == Refusal("wait_s", pytest.approx(longest_s), pytest.approx(2.9), 2.9)


def test_a_call_that_cannot_be_done_before_its_deadline_is_refused() -> None:
    assert refused(filled(), waiter(seconds=10, deadline=9)) == "wait_s"
    assert refused(filled(), waiter(seconds=9, deadline=10)) == ""


def test_a_call_is_dropped_once_it_would_be_late_and_not_before() -> None:
    call = waiter(seconds=3, deadline=10)
    queue = filled(call)
    assert queue.next_late() == 7
    assert queue.drop_late(7.0) == []
    assert queue.drop_late(7.1) == [call]
    assert len(queue) == queue.cost == 0
    assert queue.take() is None


def test_a_call_that_has_left_is_not_kept_because_another_is_late_sooner() -> None:
    """An image in the encoder's queue holds its rows."""
    queue = filled(waiter(deadline=1))
    for _ in range(1000):
        patient = waiter(deadline=HOURS)
        queue.add(patient)
        queue.remove(patient)
    assert len(queue._by_start) <= 2 * len(queue) + fair_queue.LEFT + 1


def test_a_later_deadline_keeps_a_call_in_the_queue() -> None:
    call = waiter(seconds=3, deadline=10)
    queue = filled(call)
    call.deadline = 20
    assert queue.drop_late(8) == []
    assert queue.next_late() == 17
    assert queue.drop_late(18) == [call]


CALLS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.floats(0.1, 20),  # cost, and seconds of work
        st.sampled_from([1.0, 3.0, 10.0, 30.0, 120.0]),  # deadline
        st.floats(0, 2),  # seconds since the call before
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(CALLS, st.booleans())
def test_a_worker_begins_nothing_that_is_late_and_the_queue_is_bounded(
    calls: list[tuple[str, float, float, float]], several_tenants: bool
) -> None:
    """Simulates a worker. Whatever enters is either begun in time or dropped, and nothing is lost."""
    queue: FairQueue[Waiter] = FairQueue(QueueLimits(calls=8, cost=60, several_tenants=several_tenants))
    now = busy_until = 0.0
    entered, begun, dropped = 0, list[Waiter](), list[Waiter]()

    def work_until(moment: float) -> None:
        nonlocal busy_until
        while busy_until <= moment:
            dropped.extend(queue.drop_late(busy_until))
            call = queue.take()
            if call is None:
                return
            assert busy_until <= call.latest_start
            begun.append(call)
            busy_until += call.seconds

    for tenant, cost, deadline, pause in calls:
        now += pause
        work_until(now)
        busy_until = max(busy_until, now)
        new = waiter(tenant, cost, cost / 10, deadline, now)
        if queue.refusal(new, busy_until - now, 1) is None:
            queue.add(new)
            entered += 1
        assert len(queue) <= 8
        assert queue.cost <= 60 + 1e-6
    work_until(math.inf)
    assert len(begun) + len(dropped) == entered
    assert len(queue) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=30, max_size=60))
def test_no_tenant_gets_more_than_another_by_more_than_two_calls(costs: list[float]) -> None:
    """While both have work, their served costs differ by at most the largest call of each."""
    queue = filled(limits=QueueLimits(calls=1000))
    for number, cost in enumerate(costs):
        queue.add(waiter("ab"[number % 2], cost))
    left = Counter(each.tenant for each in (waiter("ab"[n % 2]) for n in range(len(costs))))
    served: Counter[str] = Counter()
    while all(left.values()):
        call = queue.take()
        assert call is not None
        served[call.tenant] += call.cost
        left[call.tenant] -= 1
        assert abs(served["a"] - served["b"]) <= 10


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.1, 3)), min_size=1, max_size=30),
    st.sampled_from([3.0, 30.0, 120.0]),
)
def test_without_new_calls_no_call_waits_longer_than_its_estimate(
    calls: list[tuple[str, float]], deadline: float
) -> None:
    """So a call that enters is not dropped because of calls that entered before it."""
    queue = filled(limits=QueueLimits(calls=1000))
    for tenant, seconds in calls:
        queue.add(waiter(tenant, seconds, seconds, HOURS))
    new = waiter("c", 1, 1, deadline)
    estimate = queue.ahead(new)
    queue.add(new)
    before = 0.0
    for call in taken(queue):
        if call is new:
            break
        before += call.seconds
    assert before <= estimate + 2 * 3 + 1e-6  # a turn of each other tenant may be larger than its share
