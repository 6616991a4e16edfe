"""What a child process may take, enforced by the kernel."""

from __future__ import annotations

import resource
import signal
from dataclasses import dataclass
from pathlib import Path

# Children share few cores. A child that takes this much longer than its CPU time is stuck.
_PATIENCE_S, _PATIENCE = 30.0, 10


@dataclass(frozen=True)
class ChildLimits:
    """Seconds of CPU of a piece of work, and bytes beyond what is loaded."""

    cpu_s: float
    memory_bytes: int

    @property
    def patience_s(self) -> float:
        """Seconds after which a child that uses no CPU is given up."""
        return _PATIENCE_S + _PATIENCE * self.cpu_s

    def impose(self) -> None:
        """Limit this process: a signal ends it after the time, and allocations beyond the memory fail."""
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        self.restart_timer()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        used = address_space()
        if used:  # other systems limit only time
            limit_memory(used + self.memory_bytes)

    def restart_timer(self) -> None:
        """Begin the next piece of work."""
        signal.setitimer(signal.ITIMER_PROF, self.cpu_s)


def limit_memory(size: int) -> None:
    """Limit this process's address space, within what whoever started it allows."""
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    bounded = size if most == resource.RLIM_INFINITY else min(size, most)
    resource.setrlimit(resource.RLIMIT_AS, (bounded, most))


def address_space() -> int:
    """Bytes of this process's address space; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0
