"""Checks a data file in a child process: before LMDB opens it, and in the background while it serves.

LMDB trusts its file: on a damaged page it loops, allocates what a flipped count says, or kills the process.
The check walks the file in Python and visits no page twice. Its cost follows the number of pieces, not their
bytes: docs/log.md has figures.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import structlog

_MIB = 2**20
_GIB = 2**30
_MODULE = "encoder_svc.store.check"
# Enough for the interpreter, and for two bytes per page of at most twice the pages of the file.
_MEMORY_BYTES = 512 * _MIB
_PAGE_BYTES_AT_LEAST = 256
# The walk ends by itself, so this limit is for a disk that hangs, not for a slow disk: small records in a
# cold file took 17 s per GiB on a busy disk.
_SECONDS = 10
_SECONDS_PER_GIB = 60

_log = structlog.get_logger(__name__)


class Inspection:
    """One check at a time. `stop` ends it from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None
        self._stopped = False

    def find_damage(self, data_file: Path, serving: bool = False, niceness: int = 0) -> str | None:
        """Why the file is unusable; None if it is sound, empty or absent, or if the check was stopped.

        A check that does not end counts as damage, except while serving: the machine may be busy, and the
        file is in use already. OSError if no child starts.
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

    def _check(self, data_file: Path, size: int, serving: bool, niceness: int) -> str | None:
        seconds = _SECONDS + size * _SECONDS_PER_GIB // _GIB
        memory = _MEMORY_BYTES + 4 * size // _PAGE_BYTES_AT_LEAST
        with self._lock:
            self._stopped = False
            self._running = _start(str(data_file), memory, seconds, niceness)
        output, _ = self._running.communicate()
        with self._lock:
            status, self._running = self._running.returncode, None
        if self._stopped:
            return None
        if not status:
            return f"the data file is damaged: {output.strip()}" if output else None
        if status != -signal.SIGALRM:
            return f"the check of the data file ended with status {status}"
        if serving:
            _log.warning("store_check_unfinished", limit_s=seconds)
            return None
        return f"the check of the data file took longer than {seconds} s"


def _start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        errors="replace",
        # This process may have found the package by other means than the installation.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
