"""Logs: one line an event, to stderr, as JSON or for people; the request id on each line of a request.

Nothing that a client sent is logged: no text, no bytes; ids, counts and times only. What libraries log,
warn or print becomes an event, so that a log of JSON is JSON to its last line.
"""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import TextIO

import structlog


def configure(form: str, level: str) -> None:
    """`form` is `json` or `console`; `level` a name of the standard library's."""
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
    """Make events of what libraries log and warn; with `json` also of all that Python code prints.

    For the process of a service, after `configure`. Lines that C code writes to stderr stay as they are.
    """
    logging.basicConfig(handlers=[LibraryHandler(logging.WARNING)], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    if form == "json":
        sys.stdout, sys.stderr = EventStream(sys.stdout, "stdout"), EventStream(sys.stderr, "stderr")


class LibraryHandler(logging.Handler):
    """Records of the standard library's loggers as events; of an exception its text, not its traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        told = {"error": f"{type(error).__name__}: {error}"} if error else {}
        text = " ".join(record.getMessage().split())
        log = structlog.get_logger()
        tell = log.error if record.levelno >= logging.ERROR else log.warning
        tell(text, logger=record.name, **told)


class EventStream(io.TextIOBase):
    """A text stream of which each line becomes an event, `out` being the stream that it stands for."""

    def __init__(self, out: TextIO, name: str) -> None:
        self.out = out
        self._name = name
        self._rest = ""
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._tell(line)
        return len(text)

    def flush(self) -> None:
        self.out.flush()

    def close(self) -> None:
        """A line without an end is told all the same. The stream behind stays open."""
        with self._lock:
            rest, self._rest = self._rest, ""
        self._tell(rest)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.out.fileno()

    def _tell(self, line: str) -> None:
        # A progress bar rewrites its line: only what it said last counts.
        text = line.rsplit("\r", 1)[-1].strip()
        if text:
            structlog.get_logger().warning(text, logger=self._name)
