"""Logs: one line an event, to stderr, as JSON or for people; the request id on each line of a request.

Nothing that a client sent is logged: no text, no bytes; ids, counts and times only.
"""

from __future__ import annotations

import logging
import sys

import structlog


def configure(form: str, level: str) -> None:
    """`form` is `json` or `console`; `level` a name of the standard library's."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
