"""Verifies a data file in a child process before LMDB opens it.

LMDB trusts its file: on a damaged page it loops, allocates what a flipped count says, or kills the process.
py-lmdb's verifier instead walks the file in Python and visits no page twice. Its cost follows the number of
pieces, not their bytes: docs/log.md has figures.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

_MIB = 2**20
_GIB = 2**30
# Enough for the interpreter, and for two bytes per page of at most twice the pages of the file.
_MEMORY_BYTES = 512 * _MIB
_PAGE_BYTES_AT_LEAST = 256
# The walk ends by itself, so this limit is for a disk that hangs, not for a slow disk: small records in a
# cold file took 17 s per GiB on a busy disk.
_SECONDS = 60
_SECONDS_PER_GIB = 60
_SCRIPT = Path(__file__).with_name("verify.py")


def find_damage(data_file: Path) -> str | None:
    """Why the file is unusable; None if it is sound, empty or absent. OSError if no child starts."""
    if not data_file.exists():
        return None
    if not data_file.is_file():
        return "the data file is not a regular file"
    size = data_file.stat().st_size
    return _verify(data_file, size) if size else None


def _verify(data_file: Path, size: int) -> str | None:
    seconds = _SECONDS + size * _SECONDS_PER_GIB // _GIB
    memory = _MEMORY_BYTES + 4 * size // _PAGE_BYTES_AT_LEAST
    done = subprocess.run(
        [sys.executable, "-I", str(_SCRIPT), str(data_file), str(memory), str(seconds)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == -signal.SIGALRM:
        return f"the check of the data file took longer than {seconds} s"
    if done.returncode:
        return f"the check of the data file ended with status {done.returncode}"
    return f"the data file is damaged: {done.stdout.strip()}" if done.stdout else None
