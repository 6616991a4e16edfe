"""Which tokens of which sequences the next step computes.

A step is every decode that can go on, plus at most `prefill_chunk` prompt tokens: so prompts never
starve answers, and answers never starve prompts. Requests enter in order of arrival, when the
blocks for their prompt and one more step are free. Where an answer needs a block and none is free,
the youngest running sequence gives all of its own back and is computed again later. Knows no model
and no thread.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from decoder_svc.engine.kv import BlockManager
from decoder_svc.engine.sequence import Sequence


@dataclass(frozen=True)
class Chunk:
    """Compute `tokens` tokens of `sequence` from `start` on."""

    sequence: Sequence
    start: int
    tokens: int

    @property
    def end(self) -> int:
        return self.start + self.tokens

    @property
    def completes(self) -> bool:
        """Whether the next token can be sampled after it."""
        return self.end == self.sequence.length


class Scheduler:
    def __init__(self, blocks: BlockManager, prefill_chunk: int, max_running: int) -> None:
        self.blocks = blocks
        self.prefill_chunk = prefill_chunk
        self.max_running = max_running
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # oldest first
        self.preemptions = 0

    def add(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)

    def holds(self, sequence: Sequence) -> bool:
        return sequence in self.running or sequence in self.waiting

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, finished or not, and take its blocks back."""
        if sequence in self.running:
            self.running.remove(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)
        self.blocks.free(sequence.table)

    def schedule(self, now: float) -> list[Chunk]:
        """The chunks of the next step; none where everyone waits. `now` in seconds is for the
        clocks.
        """
        for sequence in (*self.waiting, *self.running):
            if sequence.clock.first_token is None:
                starved = sequence.todo == 0 or not (sequence.table or sequence.can_start)
                sequence.clock.mark_blocked(starved, now)
        decodes = self._decodes()
        self._admit(now)
        return decodes + self._prefills()

    def _decodes(self) -> list[Chunk]:
        # Victims are taken from the end, so never one that has its chunk already.
        return [
            Chunk(s, s.computed, 1)
            for s in self.running.copy()
            if s.can_decode and s in self.running and self._make_room(s)
        ]

    def _make_room(self, sequence: Sequence) -> bool:
        """A block for the next token, if need be from the youngest; False if that is the sequence
        itself.
        """
        while not self.blocks.can_extend(sequence.table, sequence.length):
            victim = self.running.pop()
            self._preempt(victim)
            if victim is sequence:
                return False
        self.blocks.extend(sequence.table, sequence.length)
        return True

    def _preempt(self, victim: Sequence) -> None:
        self.blocks.free(victim.table)
        victim.computed = 0
        self.waiting.appendleft(victim)
        self.preemptions += 1

    def _admit(self, now: float) -> None:
        for sequence in self.waiting.copy():
            if not sequence.can_start:
                continue  # its rows are on the way: others may pass
            if len(self.running) == self.max_running or not self.blocks.can_extend(
                sequence.table, sequence.length + 1
            ):
                return
            self.waiting.remove(sequence)
            self.blocks.extend(sequence.table, sequence.length + 1)
            self.running.append(sequence)
            if sequence.clock.admitted is None:
                sequence.clock.admitted = now

    def _prefills(self) -> list[Chunk]:
        chunks: list[Chunk] = []
        budget = self.prefill_chunk
        for sequence in self.running:
            tokens = min(budget, sequence.todo)
            if tokens and not sequence.can_decode:
                chunks.append(Chunk(sequence, sequence.computed, tokens))
                budget -= tokens
        return chunks
