"""What a process holds: resident memory and open files, from /proc."""

from __future__ import annotations

import time
from pathlib import Path

MIB = 2**20


def rss_mib(pid: int) -> float:
    return _status_kib(pid, "VmRSS") / 1024


def anonymous_mib(pid: int) -> float:
    """Resident memory without the pages of files, such as those of a memory-mapped store."""
    return _status_kib(pid, "RssAnon") / 1024


def peak_rss_mib(pid: int) -> float:
    """The highest resident memory since the process started or `reset_peak` was called."""
    return _status_kib(pid, "VmHWM") / 1024


def tree_rss_mib(pid: int) -> float:
    """Resident memory of a process and its children; 0 for one that has ended."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [child for task in tasks for child in (task / "children").read_text("ascii").split()]
        return rss_mib(pid) + sum(tree_rss_mib(int(child)) for child in children)
    except (OSError, ValueError):
        return 0.0


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def _status_kib(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    raise ValueError(f"/proc/{pid}/status has no {field}")


def cpu_s(pid: int) -> float:
    """CPU seconds of the process and its threads, in user and kernel mode, by Linux's clock of the process.

    /proc counts in ticks of 10 ms.
    """
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9
