"""A process that forks a child for each socket that it receives.

What the work needs is loaded once. A child starts at once, has its own limits of CPU time and memory, and
affects no other child however it ends. The control socket delivers two sockets per child: the first carries
the work and its result, the second how the child died. A caller that closes the first has its child killed.
Closing the control socket ends the process.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from fovea.nursery.limits import ChildLimits

STATUS = struct.Struct("!i")
"""The signal that killed a child, or its exit status below 0."""

Serve = Callable[[socket.socket], object]


@dataclass(frozen=True)
class _Caller:
    data: socket.socket
    status: socket.socket

    def close(self) -> None:
        self.data.close()
        self.status.close()


class Nursery:
    """The loop of the process: forks and reaps children, and kills children without a caller."""

    def __init__(self, control: socket.socket, serve: Serve, limits: ChildLimits, niceness: int = 0) -> None:
        self._control = control
        self._serve = serve
        self._limits = limits
        self._niceness = niceness
        self._children: dict[int, _Caller] = {}  # by process id
        self._poll = select.poll()
        self._signals, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())

    def run(self) -> None:
        """Until the control socket ends."""
        gc.freeze()  # a garbage collection in a child would copy every page
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._signals, select.POLLIN)
        serving = True
        while serving:
            for fd, _ in self._poll.poll():
                if fd == self._control.fileno():
                    serving = self._take()
                elif fd == self._signals.fileno():
                    self._reap()
                else:
                    self._abandon(fd)
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _take(self) -> bool:
        message, fds, _, _ = socket.recv_fds(self._control, 1, 2)
        sockets = [socket.socket(fileno=fd) for fd in fds]
        if len(sockets) == 2:
            self._fork(_Caller(*sockets))
        return bool(message)

    def _fork(self, caller: _Caller) -> None:
        pid = os.fork()
        if pid == 0:
            self._run_child(caller)
        self._children[pid] = caller
        self._poll.register(caller.data, 0)  # only hang-ups matter here; the child reads the data

    def _run_child(self, caller: _Caller) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # hides what a failing allocator prints
            os.nice(self._niceness)
            self._control.close()
            caller.status.close()
            for other in self._children.values():
                other.close()  # a copy here would hide a hang-up from its reader
            self._limits.impose()
            self._serve(caller.data)
            os._exit(0)
        except MemoryError:
            os.abort()
        finally:
            os._exit(1)

    def _reap(self) -> None:
        self._signals.recv(4096)
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._report_death(self._children.pop(pid), status)

    def _report_death(self, caller: _Caller, status: int) -> None:
        if caller.data.fileno() < 0:  # abandoned
            return
        self._poll.unregister(caller.data)
        with suppress(OSError):  # the caller may have left
            caller.status.send(STATUS.pack(os.WTERMSIG(status) or -os.WEXITSTATUS(status)))
        caller.close()

    def _abandon(self, fd: int) -> None:
        for pid, caller in self._children.items():
            if caller.data.fileno() == fd:
                self._poll.unregister(fd)
                caller.close()
                os.kill(pid, signal.SIGKILL)
