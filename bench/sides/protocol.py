"""The bench's end of the protocol: a side is asked rounds of questions over a pipe, and suspended in between.

First the side sends what it runs; then each request is answered with a round. Independent of any engine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.sides.process import SideDied, SideProcess
from decoder_svc.core import ImageSpan, Prompt


@dataclass(frozen=True, eq=False)
class Question:
    """A prompt with an image, and the rows of the image in fp32 (rows, values)."""

    prompt: Prompt
    rows: npt.NDArray[np.float32]

    @property
    def image(self) -> ImageSpan:
        return self.prompt.images[0]


@dataclass(frozen=True)
class Request:
    """Questions to ask at once, `tokens` tokens each; with or without the gaps of the logits."""

    questions: Sequence[Question]
    tokens: int
    gaps: bool = False


@dataclass(frozen=True)
class Answer:
    """Its number of tokens and the time to the first; the tokens themselves where a side has their ids.

    `gaps` are the differences of the two best logits of each token, where they were requested.
    """

    token_count: int
    ttft_ms: float
    tokens: tuple[int, ...] = ()
    gaps: tuple[float, ...] = ()

    @classmethod
    def of(cls, tokens: Sequence[int], ttft_s: float, gaps: Sequence[float] = ()) -> Answer:
        return cls(len(tokens), 1000 * ttft_s, tuple(tokens), tuple(gaps))


@dataclass(frozen=True)
class Round:
    """The answers to questions that were asked at once, and how long all of them took together."""

    seconds: float
    answers: Sequence[Answer]

    @property
    def tokens_per_s(self) -> float:
        return sum(answer.token_count for answer in self.answers) / self.seconds

    @property
    def ttft_ms(self) -> list[float]:
        return [answer.ttft_ms for answer in self.answers]


class Side(SideProcess):
    """A side that is asked over a pipe. Its command gets the descriptor of its end as last argument."""

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
                self._pipe.send(Request(questions, tokens, gaps))
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
