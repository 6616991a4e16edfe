"""CPU time of a service by thread: its event loop, the thread that runs its model, the rest, its workers.

Read from Linux's scheduler statistics, which count nanoseconds whatever else the machine does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from bench.fault_cases.process import cpu_s

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cpu:
    """Seconds. `loop` is the main thread with all threads but the model's, `workers` the child processes."""

    loop: float
    model: float
    workers: float

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(*(getattr(self, field.name) - getattr(other, field.name) for field in fields(self)))

    @property
    def total(self) -> float:
        return self.loop + self.model + self.workers


class ServiceCpu:
    """CPU time of a running service. `find_model` must come before `model` means anything."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._model = 0
        self._start = self._threads()

    def find_model(self) -> None:
        """Take the thread that has worked most since this object was made, the main thread aside."""
        now = self._threads()
        others = {tid: s - self._start.get(tid, 0.0) for tid, s in now.items() if tid != self._pid}
        self._model = max(others, key=others.__getitem__)

    def read(self) -> Cpu:
        model = self._threads().get(self._model, 0.0)
        return Cpu(cpu_s(self._pid) - model, model, sum(map(tree_s, _children(self._pid))))

    def _threads(self) -> Mapping[int, float]:
        seconds = {}
        for task in Path(f"/proc/{self._pid}/task").iterdir():
            with suppress(OSError):  # the thread has ended
                seconds[int(task.name)] = int((task / "schedstat").read_text("ascii").split()[0]) / 1e9
        return seconds


def busy_s() -> float:
    """CPU seconds since the machine started that were not idle, those that its host took (steal) included."""
    ticks = map(int, Path("/proc/stat").read_text("ascii").splitlines()[0].split()[1:9])
    user, nice, system, _, _, irq, softirq, steal = ticks
    return (user + nice + system + irq + softirq + steal) / TICKS


def own_s() -> float:
    return time.process_time()


def tree_s(pid: int) -> float:
    """A process, its living children, and those that it has waited for. 0 once it has ended."""
    try:
        waited = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[13:15]
        return cpu_s(pid) + sum(map(int, waited)) / TICKS + sum(map(tree_s, _children(pid)))
    except OSError:
        return 0.0


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text("ascii").split()]
