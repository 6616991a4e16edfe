"""A request inside the engine: what is known of it, what is computed, what it waits for.

Tokens and positions have room for the longest answer from the start, so that a step only slices. No torch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decoder_svc.engine.clock import RequestClock
from decoder_svc.engine.protocol import EngineRequest, Usage
from decoder_svc.engine.row_buffer import RowBuffer
from decoder_svc.sampling.deltas import DeltaBuilder
from decoder_svc.sampling.state import SamplerState


@dataclass(eq=False)
class RequestState:
    """`length` tokens are known. The KV of the first `computed` tokens lies in the blocks of `table`, of
    which the first are shared under `serials`.
    """

    request: EngineRequest
    images: tuple[RowBuffer, ...]
    delta_builder: DeltaBuilder
    sampler: SamplerState
    clock: RequestClock
    fetch: Callable[[int], object]  # begins to fetch the rows of an image; safe from any thread
    hint: int = 0  # tokens that were cached at the last probe, while the request waits
    table: list[int] = field(default_factory=list)
    serials: list[int] = field(default_factory=list)
    computed: int = 0
    reached: int = 0  # the most that was ever computed
    cached: int = 0  # tokens that came from the cache the first time
    adopted: int = 0  # cached tokens that no step has continued from yet
    shared: int = 0  # the end of the last image that other requests may take over

    def __post_init__(self) -> None:
        prompt, answer = self.request.prompt, self.request.sampling.token_limit
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
    def before(self) -> Hashable:
        """What the next shared block follows: a serial, or for the first block the salt of the prompt."""
        return self.serials[-1] if self.serials else self.request.prompt.salt

    def ready(self, computed: int) -> int:
        """How many leading tokens the arrived rows suffice for, if `computed` tokens are computed already."""
        for image in self.images:
            if image.span.end > computed and image.ready < image.span.rows:
                return max(computed, image.span.start + image.ready)
        return self.length

    def can_start(self, computed: int) -> bool:
        """Whether a row of the next image is here. If text sufficed, slow encoders would hold all slots."""
        first = next((i.span.start for i in self.images if i.span.end > computed), computed)
        return self.ready(computed) > max(first, computed)

    @property
    def todo(self) -> int:
        """Tokens that could be computed now. Zero means that the request waits for rows."""
        return self.ready(self.computed) - self.computed

    @property
    def proven(self) -> int:
        """Computed tokens that may be shared: those before the first image whose stream has not ended."""
        unproven = (i.span.start for i in self.images if i.wanted and not i.ended)
        return min(self.computed, *unproven, self.computed)

    @property
    def can_decode(self) -> bool:
        """Whether a single token must be computed before the next token can be sampled."""
        return self.computed == self.length - 1 > 0 and self.todo == 1

    def want_rows(self, computed: int) -> None:
        """Fetch the rows of every image that does not lie within the first `computed` tokens."""
        for number, image in enumerate(self.images):
            if image.span.end > computed and not image.wanted:
                image.wanted = True
                self.fetch(number)

    def skip(self, tokens: int) -> None:
        """The next `tokens` tokens come from the cache."""
        self.computed += tokens
        self.adopted += min(tokens, max(0, self.computed - self.reached))

    def advance(self, computed: int) -> None:
        """The KV of the first `computed` tokens is in the pages now."""
        self.computed = computed
        self.reached = max(self.reached, computed)
        self.cached += self.adopted
        self.adopted = 0

    def forget(self) -> None:
        """The blocks were given back. Adopted tokens that no step continued from may not be cached again."""
        self.serials.clear()
        self.computed = self.shared = self.adopted = 0

    def append(self, token_id: int) -> None:
        self.token_ids[self.length] = token_id
        self.length += 1

    def usage(self) -> Usage:
        return Usage(self.prompt_tokens, self.cached, self.output_tokens)
