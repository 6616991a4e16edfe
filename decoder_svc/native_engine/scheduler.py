"""Which tokens of which sequences the next step computes.

A step is every decode that can go on, plus at most `prefill_chunk` prompt tokens: so prompts never
starve answers, and answers never starve prompts. Requests enter in order of arrival, when the
blocks for what is not cached of their prompt and one more step are free. Where an answer needs a
block and none is free, the youngest running sequence gives all of its own back and is computed
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
class Chunk:
    """Compute `tokens` tokens of `sequence` from `start` on."""

    sequence: RequestState
    start: int
    tokens: int

    @property
    def end(self) -> int:
        return self.start + self.tokens

    @property
    def completes(self) -> bool:
        """Whether the next token can be sampled after it."""
        return self.end == self.sequence.length


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

    def add(self, sequence: RequestState) -> None:
        self.waiting.append(sequence)

    def holds(self, sequence: RequestState) -> bool:
        return sequence in self.running or sequence in self.waiting

    def remove(self, sequence: RequestState) -> None:
        """Forget a sequence, finished or not, and take its blocks back."""
        self._drop(sequence)
        self.blocks.free(sequence.table)

    def discard(self, sequence: RequestState) -> None:
        """Forget a sequence that failed; nobody will share what it has computed."""
        self._drop(sequence)
        self.blocks.discard(sequence.table)

    def _drop(self, sequence: RequestState) -> None:
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def probe(self, prompt: Prompt) -> int:
        """Leading tokens that need not be computed, as of now. Safe to ask from any thread."""
        return self.prefixes.probe(prompt) if self.rules.prefix_cache else 0

    def computed(self, chunks: list[Chunk]) -> None:
        """The step is done: its tokens are in the pages, for others too."""
        for chunk in chunks:
            sequence = chunk.sequence
            sequence.advance(chunk.end)
            if self.rules.prefix_cache:
                self.prefixes.keep(sequence)

    def schedule(self, now: float) -> list[Chunk]:
        """The chunks of the next step; none where everyone waits. `now` in seconds is for the
        clocks.
        """
        for sequence in (*self.waiting, *self.running):
            if sequence.clock.first_token is None:
                starved = not sequence.todo if sequence.table else not self._can_start(sequence)
                sequence.clock.mark_blocked(starved, now)
        decodes = self._decodes()
        self._admit(now)
        if self.rules.prefix_cache:
            for sequence in self.running:
                self._adopt(sequence)
        return decodes + self._prefills({chunk.sequence for chunk in decodes})

    def _can_start(self, sequence: RequestState) -> bool:
        if self.rules.overlap:
            return sequence.can_start(sequence.hint)
        return sequence.ready(sequence.hint) == sequence.length

    def _decodes(self) -> list[Chunk]:
        # Victims are taken from the end, so never one that has its chunk already.
        return [
            Chunk(s, s.computed, 1)
            for s in self.running.copy()
            if s.can_decode and s in self.running and self._make_room(s)
        ]

    def _make_room(self, sequence: RequestState) -> bool:
        """A block for the next token, if need be from the youngest; False if that is the sequence
        itself.
        """
        while not self.blocks.can_extend(sequence.table, sequence.length):
            victim = self.running.pop()
            self._give_back(victim)
            self.waiting.appendleft(victim)
            self.preemptions += 1
            if victim is sequence:
                return False
        self.blocks.extend(sequence.table, sequence.length)
        return True

    def _give_back(self, sequence: RequestState) -> None:
        """All blocks; most of what they held can be adopted again, unless others need the place."""
        self.blocks.free(sequence.table)
        sequence.forget()
        sequence.hint = self.probe(sequence.request.prompt)

    def _admit(self, now: float) -> None:
        for sequence in self.waiting.copy():
            if not self._can_start(sequence):
                sequence.want_rows(sequence.hint)
                continue  # its rows are on the way: others may pass
            if len(self.running) == self.rules.max_running:
                return
            if not self._take_place(sequence):
                return
            if not sequence.todo:  # less is cached than was thought
                sequence.want_rows(sequence.computed)
                self._give_back(sequence)
                continue
            sequence.want_rows(sequence.computed)
            self.waiting.remove(sequence)
            self.running.append(sequence)
            if sequence.clock.admitted is None:
                sequence.clock.admitted = now

    def _take_place(self, sequence: RequestState) -> bool:
        """Adopt what is cached and hold blocks for the rest and one more step; all or nothing."""
        if self.rules.prefix_cache:
            self.prefixes.adopt(sequence)
        if not self.blocks.can_extend(sequence.table, sequence.length + 1):
            self._give_back(sequence)
            return False
        self.blocks.extend(sequence.table, sequence.length + 1)
        if self.rules.prefix_cache:
            self._adopt(sequence)
        return True

    def _adopt(self, sequence: RequestState) -> None:
        self.prefixes.adopt(sequence)
        copy = self.prefixes.adopt_end(sequence)
        if copy is not None:
            self._copies.append(copy)

    def take_copies(self) -> list[Copy]:
        """What must be copied between blocks before the step that was scheduled."""
        copies, self._copies = self._copies, []
        return copies

    def _prefills(self, decoding: set[RequestState]) -> list[Chunk]:
        """In order of arrival. Who needs what another computes in this step waits, and adopts it."""
        cached: list[Chunk] = []  # all but the last token: no more than a decode
        chunks: list[Chunk] = []
        budget = self.rules.prefill_chunk
        computing: set[Key] = set()
        for sequence in self.running:
            if sequence in decoding:
                continue
            if sequence.can_decode:
                cached.append(Chunk(sequence, sequence.computed, 1))
                continue
            tokens = min(budget, sequence.todo)
            if tokens and not self._is_computed_by(computing, sequence):
                chunks.append(Chunk(sequence, sequence.computed, tokens))
                budget -= tokens
        return cached + chunks

    def _is_computed_by(self, others: set[Key], sequence: RequestState) -> bool:
        """Whether one of them computes what it needs next; if not, it becomes one of them."""
        key = self.prefixes.key(sequence) if self.rules.prefix_cache else None
        if key in others:
            return True
        if key is not None:
            others.add(key)
        return False
