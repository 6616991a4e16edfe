"""The bench's end of a side: a process that is suspended by signal while it has no request.

A pipe connects both. The engine first sends its description, then answers each request, (questions, tokens,
gaps), with a round. vLLM has an environment of its own, because it pins torch.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bench.host import ROOT
from bench.parts.timing import Round
from decoder_svc.engine.protocol import ImageSpan, Prompt
from fovea.contract.errors import FoveaError

TAIL_LINES = 15
END_S = 20.0
VLLM = "BENCH_VLLM"


@dataclass(frozen=True, eq=False)
class Question:
    """A prompt with an image, and the rows of the image in fp32 (rows, values)."""

    prompt: Prompt
    rows: npt.NDArray[np.float32]

    @property
    def image(self) -> ImageSpan:
        return self.prompt.images[0]


@dataclass(frozen=True)
class Answer:
    """`tokens` where a side has their ids; `gaps` between each token's two best logits, where requested."""

    token_count: int
    ttft_ms: float
    tokens: tuple[int, ...] = ()
    gaps: tuple[float, ...] = ()

    @classmethod
    def of(cls, tokens: Sequence[int], ttft_s: float, gaps: Sequence[float] = ()) -> Answer:
        return cls(len(tokens), 1000 * ttft_s, tuple(tokens), tuple(gaps))


class SideDied(FoveaError):
    """A side ended before it answered."""

    reason = "SIDE_DIED"

    def __init__(self, name: str, log: Path) -> None:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        super().__init__(f"{name} ended before it answered; its last lines:\n{last}", side=name)


class SideProcess:
    """A process group of its own; entering the block waits until it is ready, leaving the block ends it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.name = name
        self._log = log
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env={**os.environ, **environ},
                process_group=0,
                pass_fds=pass_fds,
            )

    def __enter__(self) -> Self:
        try:
            self._wait_until_ready()
            self._signal(signal.SIGSTOP)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self.end()

    def _wait_until_ready(self) -> None:
        """Waits until the side is ready. Raises SideDied if it exits first."""
        raise NotImplementedError

    def _stop(self) -> None:
        self._process.terminate()

    def check(self) -> None:
        """Raises SideDied if the process has exited."""
        if self._process.poll() is not None:
            raise SideDied(self.name, self._log)

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """The side runs only inside this block."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def end(self) -> None:
        """Stop it, and kill what is left of its group after `END_S`."""
        self._signal(signal.SIGCONT)
        self._stop()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class Side(SideProcess):
    """A side behind a pipe. Its command gets the descriptor of its end as the last argument."""

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.description: Mapping[str, Any] = {}
        self._pipe, theirs = Pipe()
        with theirs:
            descriptor = theirs.fileno()
            super().__init__(name, [*command, str(descriptor)], environ, log, [descriptor])

    def ask(self, questions: Sequence[Question], tokens: int, *, gaps: bool = False) -> Round:
        """All `questions` at once, `tokens` tokens each. Raises SideDied."""
        with self.resumed():
            try:
                self._pipe.send((questions, tokens, gaps))
            except BrokenPipeError:
                raise SideDied(self.name, self._log) from None
            timed: Round = self._receive()
            return timed

    def _wait_until_ready(self) -> None:
        self.description = self._receive()

    def _stop(self) -> None:
        self._pipe.close()

    def _receive(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.wait()
            raise SideDied(self.name, self._log) from None

    @property
    def resident_mib(self) -> int:
        """The memory of its own process, now."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def vllm_python() -> Path | None:
    """The interpreter of `make test-vllm`, or of the environment that `BENCH_VLLM` names; None if missing."""
    python = Path(os.environ.get(VLLM, ROOT / ".venv-vllm")) / "bin" / "python"
    return python if python.exists() else None


def vllm_environ(python: Path, threads: int) -> dict[str, str]:
    """What vLLM's manual recommends for a CPU: Intel's OpenMP where it is installed, and all cores."""
    preload = python.parents[1] / "lib" / "libiomp5.so"
    quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    threaded = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(threads)}
    return quiet | threaded | ({"LD_PRELOAD": str(preload)} if preload.exists() else {})
