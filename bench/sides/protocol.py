"""A side as the bench sees it: a child process that is asked for rounds, and stopped in between.

A request is a line of JSON on its stdin, an answer a line on its stdout; what it logs goes to a file.
Knows no engine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from fovea.contract.errors import FoveaError

TAIL_LINES = 15
END_S = 20.0


class SideDied(FoveaError):
    """A side ended before it answered."""

    reason = "SIDE_DIED"

    def __init__(self, name: str, log: Path) -> None:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        super().__init__(f"{name} ended before it answered; its last lines:\n{last}", side=name)


@dataclass(frozen=True)
class Said:
    """One answer. `gaps` are between the two best logits of each token, where they were asked for."""

    tokens: tuple[int, ...]
    ttft_ms: float
    gaps: tuple[float, ...] = ()


@dataclass(frozen=True)
class Round:
    """Some questions asked at once, and how long all took together."""

    seconds: float
    said: tuple[Said, ...]

    @property
    def tokens_per_s(self) -> float:
        return sum(len(one.tokens) for one in self.said) / self.seconds


class Side:
    """A running side; leaving the block ends it and all that it started."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.about: Mapping[str, Any] = {}
        self._log = log
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                env={**os.environ, **environ},
                process_group=0,
            )

    def __enter__(self) -> Side:
        try:
            self.about = self._read()
            self._signal(signal.SIGSTOP)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, questions: Sequence[int], tokens: int, *, gaps: bool = False) -> Round:
        """All `questions` at once, `tokens` tokens each. Raises SideDied."""
        self._signal(signal.SIGCONT)
        try:
            self._write({"ask": list(questions), "tokens": tokens, "gaps": gaps})
            reply = self._read()
        finally:
            self._signal(signal.SIGSTOP)
        said = tuple(Said(tuple(s["tokens"]), s["ttft_ms"], tuple(s["gaps"])) for s in reply["said"])
        return Round(reply["seconds"], said)

    @property
    def resident_mib(self) -> int:
        """Of its process alone, now."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") >> 20

    def _write(self, message: Mapping[str, Any]) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            raise SideDied(self.name, self._log)
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SideDied(self.name, self._log)
        return dict(json.loads(line))

    def _signal(self, number: int) -> None:
        """To the side and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _end(self) -> None:
        self._signal(signal.SIGCONT)
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
