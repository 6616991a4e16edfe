"""Makes the standard streams safe: closed, full, or with a limited character set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn


@contextmanager
def guarded() -> Iterator[None]:
    """Make the streams writable in any environment; lost output exits with status 1."""
    _replace_closed()
    allow_any_text()
    try:
        yield
    except OSError as error:
        _fail(error)
    finally:
        _flush()


def allow_any_text() -> None:
    """Print question marks instead of failing on a limited character set."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _replace_closed() -> None:
    """Python sets a stream to None that was closed before start (`>&-`)."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _flush() -> None:
    """Flush before the interpreter's shutdown does, which would print a traceback on failure."""
    try:
        if not sys.stdout.closed:
            sys.stdout.flush()
    except OSError as error:
        _fail(error)


def _fail(error: OSError) -> NoReturn:
    """Stop writing and exit. A closed pipe gets no message."""
    with suppress(OSError):
        sys.stdout.close()
    if not isinstance(error, BrokenPipeError):
        with suppress(OSError):
            print(f"fovea: cannot write the output: {os.strerror(error.errno or 0)}", file=sys.stderr)
    sys.exit(1)
