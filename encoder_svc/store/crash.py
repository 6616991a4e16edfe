"""The stack of a process that a signal killed, kept in a file for the next process.

LMDB maps its file: a page that the disk cannot read, or that is damaged after the check, kills the process by
SIGBUS or SIGSEGV in the middle of a call. Nothing can catch that, but `faulthandler` can still write the
stack.
"""

from __future__ import annotations

import faulthandler
from pathlib import Path
from typing import IO


class CrashRecord:
    """A crash file. `watch` applies to the whole process, because there is a single fault handler."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def names(self, folder: Path) -> bool:
        """Whether the crashed thread was running code of that folder."""
        if not self._path.is_file():
            return False
        return str(folder) in self._path.read_text(encoding="utf-8", errors="replace")

    def watch(self) -> None:
        self._file = self._path.open("w", encoding="utf-8")
        faulthandler.enable(self._file, all_threads=False)

    def clear(self) -> None:
        """Delete the last crash and stop watching."""
        if self._file is not None:
            faulthandler.disable()
            self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)
