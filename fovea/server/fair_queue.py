"""A bounded queue of calls that wait for a shared worker, such as an engine or a vision tower.

Tenants take turns by the cost of their calls. Within a tenant, classes of similar deadlines take turns, first
come, first served. Earliest deadline first would fill the queue with calls that are about to miss their
deadlines; a single line would fill it with patient calls and starve the others. Shares that a tenant or a
class does not use go to the others. Pure arithmetic: the caller supplies the time.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)
W = TypeVar("W", bound="Waiter")
MayBegin = Callable[[str], bool]
"""Whether a tenant may have another call past the queue."""
MIN_RETRY_S, MAX_RETRY_S = 0.5, 60.0
LEFT = 16  # calls that have left and are kept, besides as many as wait
EDGE = 0.5
"""Classes have bounds between powers of two, because usual deadlines lie near the powers."""


@dataclass(frozen=True)
class QueueLimits:
    """What may wait. `calls` and `cost` are sums over all tenants; a `cost` of 0 is no bound.

    A call may wait for `wait_share` of the time to its deadline; the rest is for classes and tenants that
    come later, and for estimates that are too low. With `several_tenants`, a tenant has at most as many calls
    waiting as there are free places, so that others always find a place. `names` are the settings of the
    bounds, for errors.
    """

    calls: int
    cost: int = 0
    default_deadline_s: float = 600.0
    wait_share: float = 0.25
    several_tenants: bool = False
    names: tuple[str, str] = ("max_waiting", "max_waiting_tokens")


@dataclass(eq=False, kw_only=True)
class Waiter:
    """A call in the queue. `seconds` is how long a worker will take, an estimate.

    `line` is the deadline class under which it waits, None if it does not wait. A deadline may move later.
    """

    tenant: str = ""
    cost: float = 0.0
    seconds: float = 0.0
    arrived: float = 0.0
    deadline: float = math.inf
    line: int | None = None

    @property
    def latest_start(self) -> float:
        return self.deadline - self.seconds

    @property
    def deadline_class(self) -> int:
        """Binary logarithm of the time from arrival to the deadline, rounded."""
        return math.floor(math.log2(max(self.deadline - self.arrived, 2**-10)) + EDGE)

    def longest_wait(self, share: float) -> float:
        """Equal for all calls of a class, unless the deadline allows less."""
        return min(share * 2 ** (self.deadline_class - EDGE), self.latest_start - self.arrived)


class Refusal(NamedTuple):
    """Why a call cannot enter the queue: the bound, its value, and the value with this call."""

    field: str
    limit: float
    actual: float
    retry_after_s: float


class Turns(Generic[K]):
    """Start-time fair queueing: of the keys that have work, the key whose service began first is next."""

    def __init__(self) -> None:
        self._time = 0.0
        self._ends: dict[K, float] = {}

    def next(self, keys: Iterable[K]) -> K:
        return min(keys, key=self._start)

    def charge(self, key: K, cost: float) -> None:
        self._time = self._start(key)
        self._ends[key] = self._time + cost
        self._ends = {k: end for k, end in self._ends.items() if end > self._time}

    def _start(self, key: K) -> float:
        return max(self._time, self._ends.get(key, 0.0))


@dataclass
class _Line(Generic[W]):
    """Waiting calls of a tenant and a deadline class, in order of arrival."""

    waiters: deque[W] = field(default_factory=deque)
    seconds: float = 0.0


@dataclass
class _Tenant(Generic[W]):
    lines: dict[int, _Line[W]] = field(default_factory=dict)
    turns: Turns[int] = field(default_factory=Turns)
    cost: float = 0.0

    @property
    def seconds(self) -> float:
        return sum(line.seconds for line in self.lines.values())

    @property
    def waiting(self) -> int:
        return sum(len(line.waiters) for line in self.lines.values())


def _always(tenant: str) -> bool:
    return True


class FairQueue(Generic[W]):
    """Calls that wait. Every method is quick, also with thousands of calls."""

    def __init__(self, limits: QueueLimits) -> None:
        self.limits = limits
        self._tenants: dict[str, _Tenant[W]] = {}
        self._turns: Turns[str] = Turns()
        self._by_start: list[tuple[float, int, W]] = []  # a heap; may hold calls that have left
        self._numbers = itertools.count()
        self._cost = 0.0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def cost(self) -> float:
        return self._cost

    def refusal(self, waiter: W, free_s: float, workers: int, outside: int = 0) -> Refusal | None:
        """Why the call must not enter, if it must not. The first of `workers` is free in `free_s` seconds;
        `outside` calls wait elsewhere and count as waiting.
        """
        limits, tenant = self.limits, self._tenants.get(waiter.tenant, _Tenant())
        wait_s = free_s + self.ahead(waiter) / workers
        retry_s = round(min(max(wait_s, MIN_RETRY_S), MAX_RETRY_S), 1)
        bounds = (
            (limits.calls, self._size + outside, tenant.waiting, 1),
            (limits.cost, self._cost, tenant.cost, waiter.cost),
        )
        for name, (limit, waiting, own, size) in zip(limits.names, bounds, strict=True):
            free = limit - waiting
            if limit and size > free:
                return Refusal(name, limit, waiting + size, retry_s)
            if limit and limits.several_tenants and own + size > free:
                return Refusal(name, free, own + size, retry_s)
        longest_s = waiter.longest_wait(limits.wait_share)
        return Refusal("wait_s", max(0.0, longest_s), wait_s, retry_s) if wait_s > longest_s else None

    def ahead(self, waiter: W) -> float:
        """Seconds of work that a single worker does before it begins with the call, if the call enters now.

        Other classes of the tenant, and then other tenants, get as much as this call and the calls before it,
        at most.
        """
        tenant = self._tenants.get(waiter.tenant, _Tenant())
        line = tenant.lines.get(waiter.deadline_class, _Line())
        own = line.seconds + waiter.seconds
        own += sum(min(other.seconds, own) for other in tenant.lines.values() if other is not line)
        others = (other.seconds for other in self._tenants.values() if other is not tenant)
        return own + sum(min(seconds, own) for seconds in others) - waiter.seconds

    def add(self, waiter: W) -> None:
        tenant = self._tenants.setdefault(waiter.tenant, _Tenant())
        waiter.line = waiter.deadline_class
        line = tenant.lines.setdefault(waiter.line, _Line())
        line.waiters.append(waiter)
        line.seconds += waiter.seconds
        tenant.cost += waiter.cost
        self._cost += waiter.cost
        self._size += 1
        heapq.heappush(self._by_start, (waiter.latest_start, next(self._numbers), waiter))

    def remove(self, waiter: W) -> None:
        """Take a call out that is not served. Harmless if it has left."""
        if waiter.line is None:
            return
        tenant = self._tenants[waiter.tenant]
        line = tenant.lines[waiter.line]
        line.waiters.remove(waiter)
        line.seconds -= waiter.seconds
        tenant.cost -= waiter.cost
        self._cost -= waiter.cost
        self._size -= 1
        if not line.waiters:
            del tenant.lines[waiter.line]
        waiter.line = None
        if not tenant.lines:
            del self._tenants[waiter.tenant]
        if len(self._by_start) > 2 * self._size + LEFT:  # calls that have left hold memory, such as results
            self._by_start = [entry for entry in self._by_start if entry[2].line is not None]
            heapq.heapify(self._by_start)

    def peek(self, may_begin: MayBegin = _always) -> W | None:
        """The call that `take` returns next, of the tenants that may begin. Drop late calls first."""
        tenants = [name for name in self._tenants if may_begin(name)]
        if not tenants:
            return None
        tenant = self._tenants[self._turns.next(tenants)]
        return tenant.lines[tenant.turns.next(tenant.lines)].waiters[0]

    def take(self, may_begin: MayBegin = _always) -> W | None:
        """The next call, which leaves the queue."""
        waiter = self.peek(may_begin)
        if waiter is not None and waiter.line is not None:
            self._turns.charge(waiter.tenant, waiter.cost)
            self._tenants[waiter.tenant].turns.charge(waiter.line, waiter.cost)
            self.remove(waiter)
        return waiter

    def drop_late(self, now: float) -> list[W]:
        """Remove the calls that can no longer meet their deadlines."""
        late = []
        while (start := self.next_late()) is not None and start < now:
            waiter = heapq.heappop(self._by_start)[2]
            if waiter.latest_start < now:
                self.remove(waiter)
                late.append(waiter)
            else:  # its deadline has been extended
                heapq.heappush(self._by_start, (waiter.latest_start, next(self._numbers), waiter))
        return late

    def next_late(self) -> float | None:
        """When the next call will be late, if it is not taken before."""
        while self._by_start and self._by_start[0][2].line is None:
            heapq.heappop(self._by_start)
        return self._by_start[0][0] if self._by_start else None
