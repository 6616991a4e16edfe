"""How a service's process begins and ends: what it needs is installed, and whatever ends it is one line.

Imports nothing that a plain install lacks, so that it can say what is missing.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections.abc import Coroutine
from importlib.metadata import PackageNotFoundError, distribution, requires
from types import TracebackType
from typing import Any

from fovea.settings import refuse

_NAME = re.compile(r"[A-Za-z0-9._-]+")


class StoppedWhileLoading(Exception):
    """SIGTERM or SIGINT came before the service was ready."""


def prepare(service: str) -> None:
    """What a service does before it imports what may be missing, or what may take seconds.

    Ends the process with one line where the extra of that name is not installed.
    """
    # Written by gRPC's C core, in a format of its own, about what we report ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.excepthook = _told_in_one_line(service)
    missing = _missing(service)
    if missing:
        refuse(f"{service}: {', '.join(sorted(missing))} not installed: pip install 'fovea[{service}]'")


def run(serve: Coroutine[Any, Any, None], service: str, expected: tuple[type[Exception], ...]) -> None:
    """Serve until a signal comes. Status 1 and one line where an exception is `expected` of a bad start."""
    try:
        asyncio.run(_served(serve))
    except expected as error:
        refuse(f"{service}: {error}")


async def _served(serve: Coroutine[Any, Any, None]) -> None:
    try:
        await serve
    except StoppedWhileLoading:
        # Everything is closed by now but a thread that may read weights for minutes: nobody waits for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _missing(extra: str) -> list[str]:
    """The distributions of an extra of ours that are not installed."""
    try:
        lines = requires("fovea") or []
    except PackageNotFoundError:
        return []
    wanted = (line for line in lines if re.search(rf"extra\s*==\s*['\"]{extra}['\"]", line))
    return [name.group() for line in wanted if (name := _NAME.match(line)) and not _installed(name.group())]


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _told_in_one_line(service: str) -> Any:
    """An excepthook: a bug is told in one line, with the place in our code that a report needs."""

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        code = trace.tb_frame.f_code if trace else None
        where = f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno}" if code and trace else ""
        text = " ".join(str(error).split())
        print(f"{service}: unexpected {kind.__name__}{where}: {text}", file=sys.stderr)

    def tell_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None and not issubclass(failed.exc_type, SystemExit):
            tell(failed.exc_type, failed.exc_value, failed.exc_traceback)

    threading.excepthook = tell_thread
    return tell
