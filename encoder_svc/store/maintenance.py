"""The upkeep of a store while it serves, on a thread: writes last uses, frees the slots of dead readers,
checks the file, compacts it after deletions, and opens it again after a full disk.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import lmdb
import structlog

from encoder_svc.store.environment import Environment
from fovea.logs import Repeats

# Last uses are noted in memory and written this often, or with the next put, so that a hit costs no commit.
_TICK_SECONDS = 5.0
_READER_CHECK_SECONDS = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Upkeep:
    """Seconds between checks of the pages (0 checks only at opening), and at least between compactions."""

    check_s: float = 600.0
    compaction_s: float = 300.0


class _Timer:
    """Due once an interval has passed since the last time, or since the start."""

    def __init__(self, seconds: float, since: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._last = since
        self._clock = clock

    def due(self) -> bool:
        return self._clock() - self._last >= self._seconds

    def restart(self) -> None:
        self._last = self._clock()


class Maintenance(threading.Thread):
    def __init__(
        self,
        env: Environment,
        flush: Callable[[], None],
        upkeep: Upkeep,
        closing: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(name="store-tend", daemon=True)
        self._env = env
        self._flush = flush
        self._closing = closing
        self._warnings = Repeats()
        now = clock()
        self._readers = _Timer(_READER_CHECK_SECONDS, now, clock)
        self._check = _Timer(upkeep.check_s or float("inf"), now, clock)
        self._compaction = _Timer(upkeep.compaction_s, float("-inf"), clock)

    def run(self) -> None:
        while not self._closing.wait(_TICK_SECONDS):
            try:
                self.tick()
            except (lmdb.Error, OSError) as error:
                if self._warnings.passes(type(error).__name__):
                    _log.warning("store_upkeep_failed", error=type(error).__name__, detail=str(error))

    def tick(self) -> None:
        self._env.reopen_if_closed()
        self._flush()
        if self._readers.due():
            self._env.check_readers()
            self._readers.restart()
        if self._check.due():
            self._env.check_pages()
            self._check.restart()
        if self._env.erasure.due and self._compaction.due():
            self._compaction.restart()
            if self._env.compact(self._closing.is_set):
                _log.info("store_compacted", file_bytes=self._env.file_bytes)
