"""Guards access to the environment: only this process, only while it is open. Closing waits for users inside.

Closing LMDB during a read would unmap the bytes it copies, and using LMDB in a forked child corrupts it. Both
kill processes instead of raising. So every transaction begins inside this gate.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fovea.contract.errors import StoreClosed, StoreForked


class Gate:
    def __init__(self) -> None:
        self._pid = os.getpid()
        self._open = True
        self._alone = False
        self._inside = 0
        self._changed = threading.Condition()

    @contextmanager
    def enter(self) -> Iterator[None]:
        self.check_process()
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._check_open()
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until the gate is empty, and block other entries. Must not be called from inside."""
        self.check_process()
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._check_open()
            self._alone = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

    def check_process(self) -> None:
        # Checked before the lock: in a forked child another thread's copy of the lock may never be released.
        if os.getpid() != self._pid:
            raise StoreForked("the store was opened before a fork: open another in the child")

    def shut(self) -> None:
        """Refuse new entries and return once the gate is empty."""
        with self._changed:
            self._open = False
            self._changed.wait_for(lambda: self._inside == 0 and not self._alone)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreClosed("the store is closed")
