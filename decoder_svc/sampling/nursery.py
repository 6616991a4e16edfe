"""A process that tries formats, each in a child of its own that may be killed.

It loads the tokens once and forks a child for each format. A child starts at once, has its own limits of CPU
time and memory, and affects no other format however it ends. The control socket delivers a connected socket
per format; closing the control socket ends the process. The socket of a format carries the format in and the
verdict out. A caller that closes it has its child killed.

Runs as `python -m decoder_svc.sampling.nursery`; imported only for `Verdict` and `ChildLimits`.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from decoder_svc.sampling.keywords import TooCostly, Unenforceable

if TYPE_CHECKING:
    from llguidance import LLTokenizer

NICENESS = 5  # the engine's steps have priority


@dataclass(frozen=True)
class Verdict:
    """The result of a trial: the grammar's `source`, or why the format is `refused`, or what is too `costly`
    with limit and value, or the signal of which the child `died` (its exit status if below 0).
    """

    source: str = ""
    refused: str = ""
    costly: tuple[str, float, float] | None = None
    died: int = 0

    def line(self) -> bytes:
        return b"\n" + json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def parse(cls, replies: bytes) -> Verdict | None:
        """The last complete verdict. A child may die while it answers."""
        lines = [line for line in replies.split(b"\n")[:-1] if line]
        return cls(**json.loads(lines[-1])) if lines else None


@dataclass(frozen=True)
class ChildLimits:
    """What a format may take: seconds of CPU, and bytes beyond the loaded tokens."""

    cpu_s: float
    memory_bytes: int

    def impose(self) -> None:
        """Let the kernel enforce the limits: a signal for time, a failed allocation for memory."""
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, self.cpu_s)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        statm = Path("/proc/self/statm")
        if statm.exists():  # other systems limit only time
            used = int(statm.read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + self.memory_bytes, resource.RLIM_INFINITY))


def judge(tokenizer: LLTokenizer, kind: str, source: list[str]) -> Verdict:
    """Takes any time and memory, so it runs in a child."""
    from decoder_svc.sampling.grammar import compiled, grammar_source

    try:
        grammar = grammar_source(kind, source)
        compiled(tokenizer, grammar)
    except Unenforceable as error:
        return Verdict(refused=str(error))
    except TooCostly as error:
        return Verdict(costly=(error.what, error.limit, error.actual))
    except MemoryError:
        return Verdict(died=signal.SIGABRT)
    return Verdict(source=grammar)


class Nursery:
    """The loop of the process: accepts formats, reaps children, kills children without a caller."""

    def __init__(self, control: socket.socket, tokenizer: LLTokenizer, limits: ChildLimits) -> None:
        self._control = control
        self._tokenizer = tokenizer
        self._limits = limits
        self._children: dict[int, socket.socket] = {}  # by process id
        self._poll = select.poll()
        self._signals, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake.fileno())

    def run(self) -> None:
        """Until the control socket ends."""
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
        data, fds, _, _ = socket.recv_fds(self._control, 1, 1)
        for fd in fds:
            self._fork(socket.socket(fileno=fd))
        return bool(data)

    def _fork(self, caller: socket.socket) -> None:
        pid = os.fork()
        if pid == 0:
            self._run_child(caller)
        self._children[pid] = caller
        self._poll.register(caller, 0)  # only hang-ups matter here; the child reads the data

    def _run_child(self, caller: socket.socket) -> NoReturn:
        """The child: reads a format, answers and exits."""
        try:
            signal.set_wakeup_fd(-1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # hides what a failing allocator prints
            os.nice(NICENESS)
            for other in (self._control, *self._children.values()):
                other.close()  # a copy here would hide a hang-up from its reader
            self._limits.impose()
            with caller.makefile("rb") as incoming:
                kind, source = json.load(incoming)
            caller.sendall(judge(self._tokenizer, kind, source).line())
            os._exit(0)
        finally:
            os._exit(1)

    def _reap(self) -> None:
        self._signals.recv(4096)
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._report_death(self._children.pop(pid), status)

    def _report_death(self, caller: socket.socket, status: int) -> None:
        if caller.fileno() < 0:  # abandoned
            return
        self._poll.unregister(caller)
        if status:
            with suppress(OSError):  # the caller may have left
                caller.sendall(Verdict(died=os.WTERMSIG(status) or -os.WEXITSTATUS(status)).line())
        caller.close()

    def _abandon(self, fd: int) -> None:
        for pid, caller in self._children.items():
            if caller.fileno() == fd:
                self._poll.unregister(fd)
                caller.close()
                os.kill(pid, signal.SIGKILL)


def main(control_fd: int, settings: dict[str, Any]) -> None:
    from decoder_svc.sampling import grammar  # noqa: F401  loaded once, outside of the limits of children
    from decoder_svc.sampling.trie import TokenSet

    folder, vocab_size, eos_ids = settings["tokens"]
    tokens = TokenSet(Path(folder), vocab_size, frozenset(eos_ids))
    limits = ChildLimits(**settings["limits"])
    nursery = Nursery(socket.socket(fileno=control_fd), tokens.load(), limits)
    gc.freeze()  # a garbage collection in a child would copy every page
    nursery.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
