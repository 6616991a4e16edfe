"""The two services as child processes of the command: started, listened to, stopped, never left behind.

Each runs in a process group of its own, so that Ctrl-C reaches the command alone and the command decides the
order: the decoder goes first, because its running calls still need the encoder. Knows processes and log
lines; knows no RPC.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from fovea.cli.errors import ServiceDied

TAIL_LINES = 40
GRACE_S = 45.0
"""Longer than either service's own grace; who has not gone by then is killed."""

Listener = Callable[[str, str], None]
"""Called with (service name, log line), from a thread of its own."""


@dataclass(frozen=True)
class Launch:
    """How a service is started: its name, its module, its flags, and where it will listen."""

    name: str
    module: str
    address: str
    flags: Sequence[str]


class Child:
    """One running service. Its last log lines are kept for whoever must explain its end."""

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

    @property
    def status(self) -> int | None:
        """The exit status, 128 and more for a signal as in a shell; None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def check(self) -> None:
        """Raises ServiceDied where it has ended."""
        status = self.status
        if status is not None:
            self._reader.join(timeout=2.0)
            raise ServiceDied(self.name, status)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def stop(self, grace_s: float = GRACE_S) -> None:
        """SIGTERM, then wait; SIGKILL where that does not help. Does nothing where it has ended."""
        self.terminate()
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
    """A group of services that live and end together: leaving the block stops all, the last started first."""

    def __init__(self, environ: Mapping[str, str], listener: Listener) -> None:
        self._environ = environ
        self._listener = listener
        self._running: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except BaseException:
            # Somebody asked again while they were given their grace: nothing may be left behind.
            self.kill()
            raise

    def start(self, launch: Launch) -> Child:
        child = Child(launch, self._environ, self._listener)
        self._running.append(child)
        return child

    def restart(self, child: Child, launch: Launch) -> Child:
        """Stop one of them and start it again in its place."""
        place = self._running.index(child)
        child.stop()
        self._running[place] = Child(launch, self._environ, self._listener)
        return self._running[place]

    def check(self) -> None:
        """Raises ServiceDied for the first that has ended."""
        for child in self._running:
            child.check()

    def tail(self, lines: int) -> list[tuple[str, str]]:
        """The last log lines of each, as (service name, line)."""
        return [(child.name, line) for child in self._running for line in list(child.tail)[-lines:]]

    def stop(self) -> None:
        for child in reversed(self._running):
            child.stop()

    def kill(self) -> None:
        for child in self._running:
            child.kill()
