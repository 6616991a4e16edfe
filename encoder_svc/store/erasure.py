"""Whether the data file may still hold bytes of removed records, and whether a compaction was asked for.

LMDB frees the pages of a removed record and keeps their bytes until it reuses them. So a deletion asks for a
compaction. The request is a file in the store's directory, so that it survives a restart.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from encoder_svc.store.directory import StoreDirectory


class ErasureState:
    """`holds_old_bytes` leaves out what was removed since the file was opened."""

    def __init__(self, directory: StoreDirectory, holds_old_bytes: bool) -> None:
        self.holds_old_bytes = holds_old_bytes
        self._directory = directory
        self._lock = threading.Lock()
        self._served = 0
        self.requests = 1 if directory.erasure_due else 0

    @property
    def due(self) -> bool:
        return self.requests > self._served

    def request(self) -> None:
        with self._lock:
            self.requests += 1
            with suppress(OSError):  # on a full disk the request lasts as long as the process
                self._directory.mark_erasure_due()

    def serve(self, requests: int, holds_old_bytes: bool = False) -> None:
        """The file was replaced by one without what was removed before the request of that number."""
        with self._lock:
            self.holds_old_bytes = holds_old_bytes
            self._served = requests
            if not self.due:
                self._directory.clear_erasure_due()
