"""How much memory processes took beyond what they have when idle, from what the kernel counts.

Linux alone; elsewhere nothing is measured. Knows process ids, not what the processes do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_RESET_PEAK = "5"
KIB = 1024


class Peak:
    """From its making on: the most that all processes had at their peaks, less what they had at the start."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._idle = sum(_bytes(pid, "VmRSS") for pid in pids)
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)

    def bytes(self) -> int:
        """Peaks of different processes need not fall together, so this is an upper bound for both sides."""
        return sum(_bytes(pid, "VmHWM") for pid in self._pids) - self._idle


def _bytes(pid: int, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    if found is None:
        raise RuntimeError(f"the kernel does not tell {field}")
    return int(found[1]) * KIB
