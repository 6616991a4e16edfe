"""A simulated decoder: an event loop, and an engine that steps through prompts and answers together."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass

from simpy import Environment, Event, Resource

from bench.simulation.cores import Processor, Steps, Thread
from bench.simulation.costs import Costs
from decoder_svc.native_engine.scheduler import SHORT_PART, SHORT_PROMPTS


@dataclass(frozen=True)
class Limits:
    """Settings of the decoder, with the same names and defaults; `max_running` as on a CPU."""

    prefill_chunk: int = 512
    max_running: int = 16
    max_preparing: int = 16


@dataclass(eq=False)
class Sequence:
    """A prompt of `todo` tokens that are not computed yet, and an answer of `tokens` tokens."""

    todo: int
    tokens: int
    first: Event
    last: Event


class Decoder:
    """`preparing` holds a place for each request until its first token."""

    def __init__(
        self, env: Environment, name: str, costs: Costs, processor: Processor, limits: Limits, loops: int = 1
    ) -> None:
        self._env = env
        self._costs = costs
        self._limits = limits
        self.preparing = Resource(env, limits.max_preparing)
        self.loop = Thread(env, processor, name, loops)
        self.engine = Thread(env, processor, name)
        self._numbers = itertools.count()
        self._waiting: deque[Sequence] = deque()
        self._prompts: deque[Sequence] = deque()
        self._answers: list[tuple[int, int, Sequence]] = []  # a heap by the step of the last token
        self._steps = 0
        self._changed = env.event()
        self.tokens = 0
        env.process(self._run())

    @property
    def running(self) -> int:
        return len(self._prompts) + len(self._answers)

    def submit(self, prompt: int, tokens: int) -> Sequence:
        sequence = Sequence(prompt, tokens, self._env.event(), self._env.event())
        self._waiting.append(sequence)
        if not self._changed.triggered:
            self._changed.succeed()
        return sequence

    def _run(self) -> Steps:
        while True:
            while self._waiting and self.running < self._limits.max_running:
                self._prompts.append(self._waiting.popleft())
            if not self.running:
                self._changed = self._env.event()
                yield self._changed
                continue
            yield from self._step()

    def _step(self) -> Steps:
        """A token for every answer, and up to a chunk of prompts, in the order of the scheduler."""
        decoding, free, completed = len(self._answers), self._limits.prefill_chunk, []
        for sequence in self._short_first():
            tokens = min(free, sequence.todo)
            sequence.todo -= tokens
            free -= tokens
            if sequence.todo:
                break
            completed.append(sequence)
        prefilled = self._limits.prefill_chunk - free
        yield from self.engine.run(self._costs.step_s(decoding, prefilled))
        self._steps += 1
        self.tokens += decoding + len(completed)
        for sequence in completed:
            self._prompts.remove(sequence)
            sequence.first.succeed()
            end = self._steps + sequence.tokens - 1
            heapq.heappush(self._answers, (end, next(self._numbers), sequence))
        while self._answers and self._answers[0][0] <= self._steps:
            heapq.heappop(self._answers)[-1].last.succeed()

    def _short_first(self) -> list[Sequence]:
        most = self._limits.prefill_chunk // SHORT_PART
        short = [sequence for sequence in self._prompts if sequence.todo <= most][:SHORT_PROMPTS]
        return short + [sequence for sequence in self._prompts if sequence not in short]
