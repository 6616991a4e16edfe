"""The standard streams as the command finds them: closed, full, or of a small character set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


@contextmanager
def guarded() -> Iterator[None]:
    """Streams that can be written to, whatever the command was given; lost output ends with status 1."""
    _replace_closed()
    allow_any_text()
    try:
        yield
    except OSError as error:
        _fail(error)
    finally:
        _flush()


def allow_any_text() -> None:
    """A terminal of a small character set gets question marks instead of a failure."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _replace_closed() -> None:
    """Python has None for a stream that was closed before it started (`>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _flush() -> None:
    """Before the interpreter does it at its end and prints a traceback of its own where that fails."""
    try:
        if not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:
        _fail(error)


def _fail(error: OSError) -> NoReturn:
    """Nothing more is written; who closed the other end of a pipe wants to hear nothing."""
    with suppress(OSError):
        sys.stdout.close()
    if not isinstance(error, BrokenPipeError):
        with suppress(OSError):
            print(f"fovea: cannot write the output: {os.strerror(error.errno or 0)}", file=sys.stderr)
    sys.exit(1)
