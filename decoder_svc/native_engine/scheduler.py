"""Which tokens of which states the next step computes.

A step is every decode that can go on, plus at most `prefill_chunk` prompt tokens: so prompts never
starve answers, and answers never starve prompts. Requests enter in order of arrival, when the
blocks for what is not cached of their prompt and one more step are free. Where an answer needs a
block and none is free, the youngest running state gives all of its own back and is computed
again later. Knows no model and no thread.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from decoder_svc.engine.protocol import Prompt
from decoder_svc.native_engine.kv import BlockManager, Key
from decoder_svc.native_engine.prefix import Copy, PrefixCache
from decoder_svc.native_engine.request_state import RequestState


@dataclass(frozen=True)
class StepChunk:
    """Compute `tokens` tokens of `state` from `start` on."""

    state: RequestState
    start: int
    tokens: int

    @property
    def end(self) -> int:
        return self.start + self.tokens

    @property
    def completes(self) -> bool:
        """Whether the next token can be sampled after it."""
        return self.end == self.state.length


@dataclass(frozen=True)
class SchedulerConfig:
    """`overlap`: a prompt may be computed while rows of its later images are on the way."""

    prefill_chunk: int
    max_running: int
    overlap: bool = True
    prefix_cache: bool = True


class Scheduler:
    def __init__(self, blocks: BlockManager, rules: SchedulerConfig) -> None:
        self.blocks = blocks
        self.rules = rules
        self.prefixes = PrefixCache(blocks)
        self.waiting: deque[RequestState] = deque()
        self.running: list[RequestState] = []  # oldest first
        self.preemptions = 0
        self._copies: list[Copy] = []

    def add(self, state: RequestState) -> None:
        self.waiting.append(state)

    def holds(self, state: RequestState) -> bool:
        return state in self.running or state in self.waiting

    def remove(self, state: RequestState) -> None:
        """Forget a state, finished or not, and take its blocks back."""
        self._drop(state)
        self.blocks.free(state.table)

    def discard(self, state: RequestState) -> None:
        """Forget a state that failed; nobody will share what it has computed."""
        self._drop(state)
        self.blocks.discard(state.table)

    def _drop(self, state: RequestState) -> None:
        if state in self.running:
            self.running.remove(state)
        elif state in self.waiting:
            self.waiting.remove(state)

    def probe(self, prompt: Prompt) -> int:
        """Leading tokens that need not be computed, as of now. Safe to ask from any thread."""
        return self.prefixes.probe(prompt) if self.rules.prefix_cache else 0

    def computed(self, chunks: list[StepChunk]) -> None:
        """The step is done: its tokens are in the pages, for others too."""
        for chunk in chunks:
            state = chunk.state
            state.advance(chunk.end)
            if self.rules.prefix_cache:
                self.prefixes.keep(state)

    def schedule(self, now: float) -> list[StepChunk]:
        """The chunks of the next step; none where everyone waits. `now` in seconds is for the
        clocks.
        """
        for state in (*self.waiting, *self.running):
            if state.clock.first_token is None:
                starved = not state.todo if state.table else not self._can_start(state)
                state.clock.mark_blocked(starved, now)
        decodes = self._decodes()
        self._admit(now)
        if self.rules.prefix_cache:
            for state in self.running:
                self._adopt(state)
        return decodes + self._prefills({chunk.state for chunk in decodes})

    def _can_start(self, state: RequestState) -> bool:
        if self.rules.overlap:
            return state.can_start(state.hint)
        return state.ready(state.hint) == state.length

    def _decodes(self) -> list[StepChunk]:
        # Victims are taken from the end, so never one that has its chunk already.
        return [
            StepChunk(s, s.computed, 1)
            for s in self.running.copy()
            if s.can_decode and s in self.running and self._make_room(s)
        ]

    def _make_room(self, state: RequestState) -> bool:
        """A block for the next token, if need be from the youngest; False if that is the state
        itself.
        """
        while not self.blocks.can_extend(state.table, state.length):
            victim = self.running.pop()
            self._give_back(victim)
            self.waiting.appendleft(victim)
            self.preemptions += 1
            if victim is state:
                return False
        self.blocks.extend(state.table, state.length)
        return True

    def _give_back(self, state: RequestState) -> None:
        """All blocks; most of what they held can be adopted again, unless others need the place."""
        self.blocks.free(state.table)
        state.forget()
        state.hint = self.probe(state.request.prompt)

    def _admit(self, now: float) -> None:
        for state in self.waiting.copy():
            if not self._can_start(state):
                state.want_rows(state.hint)
                continue  # its rows are on the way: others may pass
            if len(self.running) == self.rules.max_running:
                return
            if not self._take_place(state):
                return
            if not state.todo:  # less is cached than was thought
                state.want_rows(state.computed)
                self._give_back(state)
                continue
            state.want_rows(state.computed)
            self.waiting.remove(state)
            self.running.append(state)
            if state.clock.admitted is None:
                state.clock.admitted = now

    def _take_place(self, state: RequestState) -> bool:
        """Adopt what is cached and hold blocks for the rest and one more step; all or nothing."""
        if self.rules.prefix_cache:
            self.prefixes.adopt(state)
        if not self.blocks.can_extend(state.table, state.length + 1):
            self._give_back(state)
            return False
        self.blocks.extend(state.table, state.length + 1)
        if self.rules.prefix_cache:
            self._adopt(state)
        return True

    def _adopt(self, state: RequestState) -> None:
        self.prefixes.adopt(state)
        copy = self.prefixes.adopt_end(state)
        if copy is not None:
            self._copies.append(copy)

    def take_copies(self) -> list[Copy]:
        """What must be copied between blocks before the step that was scheduled."""
        copies, self._copies = self._copies, []
        return copies

    def _prefills(self, decoding: set[RequestState]) -> list[StepChunk]:
        """In order of arrival. Who needs what another computes in this step waits, and adopts it."""
        cached: list[StepChunk] = []  # all but the last token: no more than a decode
        chunks: list[StepChunk] = []
        budget = self.rules.prefill_chunk
        computing: set[Key] = set()
        for state in self.running:
            if state in decoding:
                continue
            if state.can_decode:
                cached.append(StepChunk(state, state.computed, 1))
                continue
            tokens = min(budget, state.todo)
            if tokens and not self._is_computed_by(computing, state):
                chunks.append(StepChunk(state, state.computed, tokens))
                budget -= tokens
        return cached + chunks

    def _is_computed_by(self, others: set[Key], state: RequestState) -> bool:
        """Whether one of them computes what it needs next; if not, it becomes one of them."""
        key = self.prefixes.key(state) if self.rules.prefix_cache else None
        if key in others:
            return True
        if key is not None:
            others.add(key)
        return False
