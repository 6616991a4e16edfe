"""A child process that reads an untrusted local file for this one, which it may neither crash nor hold up."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from fovea.contract.errors import FoveaError, InvalidArgument
from fovea.nursery import frames
from fovea.nursery.frames import FrameInvalid, Header
from fovea.nursery.limits import ChildLimits

LIMITS = ChildLimits(cpu_s=30, memory_bytes=2 << 30)
"""For each request to the child."""


class FileTooCostly(InvalidArgument):
    """Reading a local file takes more time or memory than allowed, or crashes its reader."""

    reason = "FILE_NOT_READABLE"

    def __init__(self, name: str, why: str, limit: float) -> None:
        super().__init__(f"cannot read {name}: {why}", path=name, limit=f"{limit:g}")


class IsolatedReader:
    """Calls a child that runs `python -m module`. Not for several threads at a time."""

    def __init__(self, process: subprocess.Popen[bytes], data: socket.socket, name: str) -> None:
        self._process = process
        self._data = data
        self._stream = data.makefile("rb")
        self._name = name

    def ask(self, task: str, body: bytes = b"", max_bytes: int = 0, **arguments: Any) -> tuple[Header, bytes]:
        """The reply, with raw bytes up to `max_bytes`. Raises FileTooCostly if there is none."""
        try:
            header = {"task": task, "arguments": arguments}
            self._data.sendall(frames.packed(header, len(body)))
            self._data.sendall(body)
            reply = frames.read(self._stream, max_bytes)
        except TimeoutError:
            raise _death(self._name, signal.SIGPROF) from None
        except (ConnectionError, FrameInvalid):
            reply = None
        if reply is None:
            raise _death(self._name, -self._process.wait(LIMITS.patience_s))
        return reply


@contextmanager
def isolated(module: str, name: str) -> Iterator[IsolatedReader]:
    """The child, until the block ends. `name` is the file's in errors."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", module, str(theirs.fileno()), json.dumps(asdict(LIMITS))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        ours.settimeout(LIMITS.patience_s)
        try:
            yield IsolatedReader(process, ours, name)
        finally:
            process.kill()
            process.wait()


def _death(name: str, status: int) -> FoveaError:
    if status == signal.SIGPROF:
        why = f"it takes more than {LIMITS.cpu_s:g} seconds of CPU"
        return FileTooCostly(name, why, LIMITS.cpu_s)
    why = f"it crashes its reader, or takes more than {LIMITS.memory_bytes} bytes of memory"
    return FileTooCostly(name, why, LIMITS.memory_bytes)
