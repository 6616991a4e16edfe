"""Logs: a line per event on stderr, as JSON or for people, with the request id.

Client content is never logged: no text and no bytes, only ids, counts and times. What libraries log, warn or
print becomes an event too, so a JSON log is JSON to its last line.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Hashable
from typing import TextIO

import structlog


def configure(form: str, level: str) -> None:
    """Set up structlog. `form` is `json` or `console`; `level` is a standard library level name."""
    out = sys.stderr.out if isinstance(sys.stderr, EventStream) else sys.stderr
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )


def adopt_libraries(form: str) -> None:
    """Turn library logs and warnings into events; with `json` also everything that Python code prints.

    For service processes, after `configure`. Lines that C code writes to stderr stay as they are.
    """
    logging.basicConfig(handlers=[LibraryHandler(logging.WARNING)], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    if form == "json":
        sys.stdout, sys.stderr = EventStream(sys.stdout, "stdout"), EventStream(sys.stderr, "stderr")


class Repeats:
    """Decides which warnings are logged: of a kind, at most one in `every_s`, so that a failure of every call
    does not flood the log. For several threads.
    """

    def __init__(self, every_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._logged: dict[Hashable, float] = {}

    def passes(self, *kind: Hashable) -> bool:
        """Whether to log a warning of this kind now. There must be few kinds."""
        now = self._clock()
        with self._lock:
            if now - self._logged.get(kind, -self._every_s) < self._every_s:
                return False
            self._logged[kind] = now
        return True


class LibraryHandler(logging.Handler):
    """Converts records of the standard library's loggers to events; exceptions without traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        fields = {"error": f"{type(error).__name__}: {error}"} if error else {}
        text = " ".join(record.getMessage().split())
        log = structlog.get_logger()
        emit = log.error if record.levelno >= logging.ERROR else log.warning
        emit(text, logger=record.name, **fields)


class EventStream(io.TextIOBase):
    """A text stream that turns each line into an event. `out` is the stream that it replaces."""

    def __init__(self, out: TextIO, name: str) -> None:
        self.out = out
        self._name = name
        self._rest = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._emit(line)
        return len(text)

    def flush(self) -> None:
        self.out.flush()

    def close(self) -> None:
        """Emit an unterminated last line. The replaced stream stays open."""
        with self._lock:
            rest, self._rest = self._rest, ""
        self._emit(rest)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.out.fileno()

    def _emit(self, line: str) -> None:
        # A progress bar rewrites its line; only the last state counts.
        text = line.rsplit("\r", 1)[-1].strip()
        if text:
            structlog.get_logger().warning(text, logger=self._name)
