"""Memory that the kernel would kill for, as metrics: of the container, or of the machine if no limit is set.

The page cache does not count, because the kernel takes it back: a store that is mapped into memory fills it.
Child processes count, as they do for the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

KIB = 1024


@dataclass(frozen=True)
class MemoryUse:
    """Bytes in use, and how many there may be."""

    used_bytes: int
    limit_bytes: int


def memory_use(root: Path = Path("/")) -> MemoryUse | None:
    """The tighter of container (cgroup v2) and machine. None where the system tells neither."""
    machine = _machine(root)
    container = _container(root)
    if machine is None or container is None:
        return container or machine
    return container if container.limit_bytes < machine.limit_bytes else machine


def _container(root: Path) -> MemoryUse | None:
    """None without a limit."""
    try:
        own = next(line[3:] for line in _lines(root / "proc/self/cgroup") if line.startswith("0::"))
        folder = root / "sys/fs/cgroup" / own.lstrip("/")
        limit = int((folder / "memory.max").read_text())
        stat = dict(line.split() for line in _lines(folder / "memory.stat"))
        # `file` is the page cache; shared memory is in it, and cannot be taken back.
        cache = int(stat["file"]) - int(stat["shmem"])
        return MemoryUse(int((folder / "memory.current").read_text()) - cache, limit)
    except (OSError, ValueError, KeyError, StopIteration):  # no cgroup v2, or `max`
        return None


def _machine(root: Path) -> MemoryUse | None:
    try:
        fields = dict(line.split()[:2] for line in _lines(root / "proc/meminfo"))
        total = KIB * int(fields["MemTotal:"])
        return MemoryUse(total - KIB * int(fields["MemAvailable:"]), total)
    except (OSError, ValueError, KeyError):  # not Linux
        return None


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


class MemoryCollector(Collector):
    """Reads the memory at each scrape."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        use = memory_use()
        if use is None:
            return
        text = "Memory in use in this container, or on this machine: what cannot be freed."
        yield GaugeMetricFamily("fovea_server_memory_used_bytes", text, use.used_bytes)
        text = "Memory that this container may use, or that this machine has."
        yield GaugeMetricFamily("fovea_server_memory_limit_bytes", text, use.limit_bytes)
