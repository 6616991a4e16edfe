"""Checks a data file in a child process: before LMDB opens it, and in the background while it serves.

LMDB trusts its file: on a damaged page it loops, allocates what a flipped count says, or kills the process.
The check walks the file in Python and visits no page twice. Its cost follows the number of pieces, not their
bytes: docs/log.md has figures.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import structlog

from fovea.nursery.limits import ChildLimits

_MIB = 2**20
_GIB = 2**30
_MODULE = "encoder_svc.store.check"
# Enough for the interpreter, and for two bytes per page of at most twice the pages of the file.
_MEMORY_BYTES = 512 * _MIB
_PAGE_BYTES_AT_LEAST = 256
# CPU time, so that a busy machine costs no store. The walk ends by itself; LMDB may loop behind it. A sound
# file took at most 8 s per GiB, with the smallest records.
_CPU_S = 5.0
_CPU_S_PER_GIB = 30.0

# Signals that LMDB raises on damaged pages. Others, such as SIGKILL, come from outside.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)

_log = structlog.get_logger(__name__)


class Inspection:
    """One check at a time. Another thread may stop it, or close this for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None
        self._stopped = False
        self._closed = False

    def find_damage(self, data_file: Path, serving: bool = False, niceness: int = 0) -> str | None:
        """Why the file is unusable; None if it is sound, empty or absent, or if the check was stopped.

        A check that crashes or takes more than its CPU time counts as damage. So does a check that hangs,
        except while serving: the file is in use already. A check that ends by a defect of its own, or is
        killed, is logged and says nothing: a sound cache must not be lost to it. OSError if no child starts.
        """
        if not data_file.exists():
            return None
        if not data_file.is_file():
            return "the data file is not a regular file"
        size = data_file.stat().st_size
        return self._check(data_file, size, serving, niceness) if size else None

    def stop(self) -> None:
        with self._lock:
            if self._running is not None:
                self._stopped = True
                self._running.kill()

    def close(self) -> None:
        """Stop, and start no further check."""
        with self._lock:
            self._closed = True
        self.stop()

    def _check(self, data_file: Path, size: int, serving: bool, niceness: int) -> str | None:
        limits = ChildLimits(
            _CPU_S + size * _CPU_S_PER_GIB / _GIB, _MEMORY_BYTES + 4 * size // _PAGE_BYTES_AT_LEAST
        )
        with self._lock:
            if self._closed:
                return None
            self._stopped = False
            self._running = _start(data_file, json.dumps(asdict(limits)), niceness)
        output, errors = self._running.communicate()
        with self._lock:
            status, self._running = self._running.returncode, None
        if self._stopped:
            return None
        if not status:
            return f"the data file is damaged: {output.strip()}" if output else None
        if status == -signal.SIGPROF:
            return f"the check of the data file took more than {limits.cpu_s:.0f} s of CPU"
        if -status in _CRASHES:
            return f"the check of the data file was ended by {signal.Signals(-status).name}"
        if status != -signal.SIGALRM:
            _log.error("store_check_failed", status=status, detail=errors.strip().rpartition("\n")[2])
            return None
        if serving:
            _log.warning("store_check_unfinished", limit_s=limits.patience_s)
            return None
        return f"the check of the data file took longer than {limits.patience_s:.0f} s"


def _start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # This process may have found the package by other means than the installation.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
