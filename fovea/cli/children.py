"""The two services as child processes of the command: start, read logs, stop, never leave behind.

Each runs in its own process group, so that Ctrl-C reaches the command only and the command decides the order:
the decoder stops first, because its running calls still need the encoder. Handles processes and log lines, no
RPCs.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fovea.cli.errors import ServiceDied

TAIL_LINES = 40
GRACE_S = 45.0
"""Longer than either service's own grace period; then the process is killed."""

Listener = Callable[[str, str], None]
"""Called with (service name, log line), from a reader thread."""


@dataclass(frozen=True)
class Launch:
    """How to start a service: name, module, listen address and flags."""

    name: str
    module: str
    address: str
    flags: Sequence[str]


class Child:
    """A running service. Its last log lines are kept to explain its end."""

    def __init__(self, launch: Launch, environ: Mapping[str, str], listener: Listener) -> None:
        self.name = launch.name
        self.address = launch.address
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process = subprocess.Popen(
            [sys.executable, "-m", launch.module, *launch.flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=dict(environ),
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, args=(listener,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Raises ServiceDied if it has exited; its status is above 128 for a signal, as in a shell."""
        code = self._process.poll()
        if code is not None:
            self._reader.join(timeout=2.0)
            raise ServiceDied(self.name, code if code >= 0 else 128 - code)

    def kill(self) -> None:
        self._process.kill()

    def stop(self, grace_s: float = GRACE_S) -> None:
        """SIGTERM, wait, then SIGKILL. No effect if it has exited."""
        self._process.terminate()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._reader.join(timeout=2.0)

    def _read(self, listener: Listener) -> None:
        for line in self._process.stdout or ():
            self.tail.append(line.rstrip("\n"))
            listener(self.name, line.rstrip("\n"))


class Children:
    """Services that live and end together: leaving the block stops all, in reverse order."""

    def __init__(self, environ: Mapping[str, str], listener: Listener) -> None:
        self._environ = environ
        self._listener = listener
        self._running: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.stop()
        except BaseException:
            # Interrupted again during the grace period: leave no process behind.
            self.kill()
            raise

    def start(self, launch: Launch) -> Child:
        child = Child(launch, self._environ, self._listener)
        self._running.append(child)
        return child

    def restart(self, child: Child, launch: Launch) -> Child:
        """Stop a child and start it again in its place."""
        index = self._running.index(child)
        child.stop()
        self._running[index] = Child(launch, self._environ, self._listener)
        return self._running[index]

    def check(self) -> None:
        """Raises ServiceDied for the first child that has exited."""
        for child in self._running:
            child.check()

    def tail(self, lines: int) -> list[tuple[str, str]]:
        """The last log lines of each child, as (service name, line)."""
        return [(child.name, line) for child in self._running for line in list(child.tail)[-lines:]]

    def stop(self) -> None:
        for child in reversed(self._running):
            child.stop()

    def kill(self) -> None:
        for child in self._running:
            child.kill()
