"""Which tokens of which requests the next step computes.

A step holds every decode that can continue, plus at most `prefill_chunk` prompt tokens, so that neither
prompts nor answers starve. Requests enter in order of arrival, once the free blocks can hold the uncached
part of their prompt and a further step. Prompts are computed in that order too, but up to half of a step goes
to those with little left first: a question about a cached image does not wait for the images of others. If
an answer needs a block and none is free, the youngest running request gives back all of its blocks and is
computed again later. Independent of models and threads.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from decoder_svc.native_engine.kv import BlockManager, Key
from decoder_svc.native_engine.prefix import BlockCopy, PrefixCache
from decoder_svc.native_engine.request_state import RequestState

SHORT_PART = 4
"""A prompt is short if what is left of it fits in this part of a chunk."""
SHORT_PROMPTS = 2
"""So many of them go first in a step, so that they take at most half of it."""


@dataclass(frozen=True)
class StepChunk:
    """`tokens` tokens of `state` from `start` on, computed in a step."""

    state: RequestState
    start: int
    tokens: int

    @property
    def end(self) -> int:
        return self.start + self.tokens

    @property
    def completes(self) -> bool:
        """Whether the next token can be sampled after this chunk."""
        return self.end == self.state.length


@dataclass(frozen=True)
class SchedulerConfig:
    """`overlap`: compute a prompt while rows of its later images are on the way."""

    prefill_chunk: int
    max_running: int
    overlap: bool = True
    prefix_cache: bool = True


class Scheduler:
    def __init__(self, blocks: BlockManager, config: SchedulerConfig) -> None:
        self.blocks = blocks
        self.config = config
        self.prefixes = PrefixCache(blocks, config.prefix_cache)
        self.waiting: deque[RequestState] = deque()
        self.running: list[RequestState] = []  # oldest first
        self.preemptions = 0
        self._copies: list[BlockCopy] = []

    def add(self, state: RequestState) -> None:
        self.waiting.append(state)

    def holds(self, state: RequestState) -> bool:
        return state in self.running or state in self.waiting

    def remove(self, state: RequestState) -> None:
        """Forget a request, ended or not, and free its blocks."""
        self._drop(state)
        self.blocks.free(state.table)

    def discard(self, state: RequestState) -> None:
        """Forget a request that failed. What it computed is not shared."""
        self._drop(state)
        self.blocks.discard(state.table)

    def _drop(self, state: RequestState) -> None:
        if state in self.running:
            self.running.remove(state)
        elif state in self.waiting:
            self.waiting.remove(state)

    def computed(self, chunks: list[StepChunk]) -> None:
        """The step is done. Other requests may share its tokens."""
        for chunk in chunks:
            chunk.state.advance(chunk.end)
            self.prefixes.keep(chunk.state)

    def schedule(self, now: float) -> list[StepChunk]:
        """The chunks of the next step, none if every request waits. `now` in seconds is for the clocks."""
        for state in (*self.waiting, *self.running):
            if state.clock.first_token is None:
                starved = not state.todo if state.table else not self._can_start(state)
                state.clock.mark_blocked(starved, now)
        decodes = self._decodes()
        self._admit(now)
        for state in self.running:
            self._adopt(state)
        return decodes + self._prefills({chunk.state for chunk in decodes})

    @property
    def starved(self) -> bool:
        """After an empty schedule: whether requests wait, all of them for rows."""
        return any(not state.request.dummy for state in (*self.running, *self.waiting))

    def take_copies(self) -> list[BlockCopy]:
        """The copies between blocks that must precede the scheduled step."""
        copies, self._copies = self._copies, []
        return copies

    def _can_start(self, state: RequestState) -> bool:
        if self.config.overlap:
            return state.can_start(state.hint)
        return state.ready(state.hint) == state.length

    def _decodes(self) -> list[StepChunk]:
        # Victims come from the end of the list, so a victim never has a chunk yet.
        return [
            StepChunk(s, s.computed, 1)
            for s in self.running.copy()
            if s.can_decode and s in self.running and self._make_room(s)
        ]

    def _make_room(self, state: RequestState) -> bool:
        """Hold a block for the next token, if need be from the youngest request. False if that is `state`."""
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
        """Free all blocks. Full blocks can be adopted again until other requests need them."""
        self.blocks.free(state.table)
        state.forget()
        state.hint = self.prefixes.probe(state.request.prompt)

    def _admit(self, now: float) -> None:
        for state in self.waiting.copy():
            if not self._can_start(state):
                state.want_rows(state.hint)
                continue  # its rows are on the way, so later requests may pass
            if len(self.running) == self.config.max_running or not self._hold_blocks(state):
                return
            state.want_rows(state.computed)
            if not state.todo:  # less is cached than the hint promised
                self._give_back(state)
                continue
            self.waiting.remove(state)
            self.running.append(state)
            if state.clock.admitted is None:
                state.clock.admitted = now

    def _hold_blocks(self, state: RequestState) -> bool:
        """Adopt what is cached and hold blocks for the rest and one more step, or hold nothing."""
        self._adopt(state)
        if not self.blocks.can_extend(state.table, state.length + 1):
            self._give_back(state)
            return False
        self.blocks.extend(state.table, state.length + 1)
        self._adopt(state)
        return True

    def _adopt(self, state: RequestState) -> None:
        copy = self.prefixes.adopt(state)
        if copy is not None:
            self._copies.append(copy)

    def _prefills(self, decoding: set[RequestState]) -> list[StepChunk]:
        """A request waits while another computes what it needs, then adopts that."""
        cached: list[StepChunk] = []  # only the last token is left: no more work than a decode
        chunks: list[StepChunk] = []
        budget = self.config.prefill_chunk
        computing: set[Key] = set()
        for state in self._short_first([state for state in self.running if state not in decoding]):
            if state.can_decode:
                cached.append(StepChunk(state, state.computed, 1))
                continue
            tokens = min(budget, state.todo)
            key = self.prefixes.next_key(state) if tokens else None
            if tokens and key not in computing:
                chunks.append(StepChunk(state, state.computed, tokens))
                budget -= tokens
                computing |= {key} if key is not None else set()
        return cached + chunks

    def _short_first(self, states: list[RequestState]) -> list[RequestState]:
        """In order of arrival, after at most `SHORT_PROMPTS` short ones."""
        most = self.config.prefill_chunk // SHORT_PART
        short = [s for s in states if s.todo and not s.can_decode and s.length - s.computed <= most]
        return short[:SHORT_PROMPTS] + [s for s in states if s not in short[:SHORT_PROMPTS]]
