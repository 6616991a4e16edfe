"""The start and end of a service process: checks the installation, and reports fatal errors in a single line.

Imports only what a plain install has, so that it can report what is missing.
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
    """SIGTERM or SIGINT arrived before the service was ready."""


def prepare(service: str) -> None:
    """Call it first, before imports that may be missing or take seconds.

    Exits with a single line if the service's extra is not installed.
    """
    # gRPC's C core logs in its own format what we report ourselves.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    sys.excepthook = _one_line_excepthook(service)
    missing = _missing(service)
    if missing:
        refuse(f"{service}: {', '.join(sorted(missing))} not installed: pip install 'fovea[{service}]'")


def run(serve: Coroutine[Any, Any, None], service: str, expected: tuple[type[Exception], ...]) -> None:
    """Serve until a signal arrives. An `expected` exception exits with status 1 and a single line."""
    try:
        asyncio.run(_served(serve))
    except expected as error:
        refuse(f"{service}: {error}")


async def _served(serve: Coroutine[Any, Any, None]) -> None:
    try:
        await serve
    except StoppedWhileLoading:
        # Only a thread that may read weights for minutes is left; do not wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _missing(extra: str) -> list[str]:
    """The distributions of the package's `extra` that are not installed."""
    try:
        lines = requires("fovea") or []
    except PackageNotFoundError:
        return []
    requirements = (line for line in lines if re.search(rf"extra\s*==\s*['\"]{extra}['\"]", line))
    return [
        name.group() for line in requirements if (name := _NAME.match(line)) and not _installed(name.group())
    ]


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _one_line_excepthook(service: str) -> Any:
    """Install excepthooks that report a bug in a single line, with the source location."""

    def report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        code = trace.tb_frame.f_code if trace else None
        where = f" at {os.path.basename(code.co_filename)}:{trace.tb_lineno}" if code and trace else ""
        text = " ".join(str(error).split())
        print(f"{service}: unexpected {kind.__name__}{where}: {text}", file=sys.stderr)

    def report_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None and not issubclass(failed.exc_type, SystemExit):
            report(failed.exc_type, failed.exc_value, failed.exc_traceback)

    threading.excepthook = report_thread
    return report
