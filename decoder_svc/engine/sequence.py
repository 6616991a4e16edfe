"""One request inside the engine: what is known of it, what is computed, what it waits for.

Tokens and positions have room for the longest answer from the start, so that a step only slices.
Knows no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decoder_svc.core import EngineRequest, Timings, Usage
from decoder_svc.engine.detokenizer import TextStream
from decoder_svc.engine.draws import Draws
from decoder_svc.engine.rows import RowBuffer


@dataclass
class Clock:
    """The moments of a request, in seconds; `blocked_*` add up while only missing rows hold it back."""

    submitted: float
    admitted: float | None = None
    blocked_before_slot: float = 0.0
    blocked_in_slot: float = 0.0
    first_token: float | None = None
    last_token: float | None = None
    blocked_since: float | None = None

    def mark_blocked(self, blocked: bool, now: float) -> None:
        """Tell whether rows are what the request waits for, from now on."""
        if self.blocked_since is not None:
            if self.admitted is None:
                self.blocked_before_slot += now - self.blocked_since
            else:
                self.blocked_in_slot += now - self.blocked_since
        self.blocked_since = now if blocked else None

    def mark_token(self, now: float) -> None:
        self.first_token = now if self.first_token is None else self.first_token
        self.last_token = now

    def timings(self) -> Timings:
        """Until the first token queue, rows and prefill add up to ttft."""
        if self.admitted is None or self.first_token is None or self.last_token is None:
            return Timings()
        return Timings(
            queue_ms=1e3 * (self.admitted - self.submitted - self.blocked_before_slot),
            rows_ms=1e3 * (self.blocked_before_slot + self.blocked_in_slot),
            prefill_ms=1e3 * (self.first_token - self.admitted - self.blocked_in_slot),
            ttft_ms=1e3 * (self.first_token - self.submitted),
            decode_ms=1e3 * (self.last_token - self.first_token),
        )


@dataclass(eq=False)
class Sequence:
    """`length` tokens are known, the first `computed` of them are in the KV cache, in the blocks
    of `table`.
    """

    request: EngineRequest
    images: tuple[RowBuffer, ...]
    text: TextStream
    draws: Draws
    clock: Clock
    table: list[int] = field(default_factory=list)
    computed: int = 0

    def __post_init__(self) -> None:
        prompt, answer = self.request.prompt, self.request.sampling.max_new_tokens
        self.length = self.prompt_tokens = len(prompt.token_ids)
        self.token_ids: NDArray[np.int32] = np.zeros(self.length + answer, np.int32)
        self.token_ids[: self.length] = prompt.token_ids
        tail = np.arange(prompt.next_position, prompt.next_position + answer, dtype=np.int32)
        self.positions: NDArray[np.int32] = np.concatenate(
            [prompt.positions.astype(np.int32), np.broadcast_to(tail, (3, answer))], axis=1
        )

    @property
    def output_tokens(self) -> int:
        return self.length - self.prompt_tokens

    @property
    def is_full(self) -> bool:
        return self.length == len(self.token_ids)

    @property
    def ready(self) -> int:
        """How many leading tokens could be computed with the rows that are here."""
        for image in self.images:
            if image.ready < image.span.rows:
                return image.span.start + image.ready
        return self.length

    @property
    def todo(self) -> int:
        """Tokens that could be computed now. Zero: it waits for rows."""
        return max(0, self.ready - self.computed)

    @property
    def can_start(self) -> bool:
        """Worth a slot: with images, not before the first row has come, lest slow encoders hold
        the slots.
        """
        return not self.images or self.ready > self.images[0].span.start

    @property
    def can_decode(self) -> bool:
        """One token short of the next one."""
        return self.computed == self.length - 1 > 0 and self.todo == 1

    def append(self, token_id: int) -> None:
        self.token_ids[self.length] = token_id
        self.length += 1

    def usage(self) -> Usage:
        return Usage(self.prompt_tokens, 0, self.output_tokens)
