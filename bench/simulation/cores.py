"""Where simulated threads run: on cores that they share, or each on a core of its own.

Shared cores are a processor-sharing server: runnable threads progress at equal rates, each at most as fast as
a core. A process may be narrower than the machine: the threads of Python take turns at its interpreter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from simpy import Environment, Event, Resource

Steps = Generator[Event, Any, None]
"""A simulated process."""
_ROUNDING_S = 1e-9


class Processor(Protocol):
    def run(self, seconds: float, process: str) -> Event:
        """Succeeds once `seconds` of work are done."""


class OwnCores:
    """A core for each thread."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def run(self, seconds: float, process: str) -> Event:
        return self._env.timeout(seconds)


@dataclass(eq=False)
class _Work:
    left: float
    process: str
    done: Event
    rate: float = 0.0


class SharedCores:
    """`count` cores, which need not be whole. `widths` bounds the cores of a process, by its name."""

    def __init__(self, env: Environment, count: float, widths: Mapping[str, float] | None = None) -> None:
        self._env = env
        self._count = count
        self._widths = widths or {}
        self._running: list[_Work] = []
        self._at = env.now
        self._plans = 0
        self.busy_s = 0.0

    def run(self, seconds: float, process: str) -> Event:
        work = _Work(seconds, process, self._env.event())
        self._advance()
        self._running.append(work)
        self._plan()
        return work.done

    def _advance(self) -> None:
        """Do the work of the time since the last change."""
        elapsed, self._at = self._env.now - self._at, self._env.now
        for work in self._running:
            work.left -= elapsed * work.rate
            self.busy_s += elapsed * work.rate

    def _plan(self) -> None:
        """Set the rates, and wake up when the next work is done unless they change before."""
        self._share()
        self._plans += 1
        if self._running:
            wait = max(0.0, min(work.left / work.rate for work in self._running))
            self._env.timeout(wait, self._plans).callbacks.append(self._wake)

    def _share(self) -> None:
        """Equal rates within the limits of cores and processes (water-filling)."""
        threads = Counter(work.process for work in self._running)
        limits = {name: min(1.0, self._widths.get(name, inf) / count) for name, count in threads.items()}
        left = self._count
        ordered = sorted(self._running, key=lambda work: limits[work.process])
        for place, work in enumerate(ordered):
            work.rate = min(limits[work.process], left / (len(ordered) - place))
            left -= work.rate

    def _wake(self, planned: Event) -> None:
        if planned.value != self._plans:
            return
        self._advance()
        ended = [work for work in self._running if work.left <= _ROUNDING_S]
        self._running = [work for work in self._running if work.left > _ROUNDING_S]
        for work in ended:
            work.done.succeed()
        self._plan()


class Thread:
    """Does the work of a process piece by piece, in order of arrival; `threads` pieces at a time."""

    def __init__(self, env: Environment, processor: Processor, process: str, threads: int = 1) -> None:
        self._turns = Resource(env, threads)
        self._env = env
        self._processor = processor
        self._process = process
        self.busy_s = 0.0

    @property
    def waiting(self) -> int:
        return len(self._turns.queue)

    def run(self, seconds: float) -> Steps:
        with self._turns.request() as turn:
            yield turn
            begun = self._env.now
            yield self._processor.run(seconds, self._process)
            self.busy_s += self._env.now - begun
