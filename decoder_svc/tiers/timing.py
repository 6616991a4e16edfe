"""Times an engine by a dummy request, the same for every model, so that tiers can be compared."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from decoder_svc.engine.protocol import Engine, EngineRequest, RowChunk
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart
from fovea.contract.rows import RowLayout
from fovea.contract.sampling import Sampling

VISUAL_TOKENS, OUTPUT_TOKENS, ROUNDS = 256, 8, 3


@dataclass(frozen=True)
class DummyEngine:
    """An engine, and what a dummy request for it is made of. `layout` is that of fp32 rows."""

    engine: Engine
    builder: PromptBuilder
    layout: RowLayout
    clock: Callable[[], float] = time.perf_counter

    async def time(self) -> float:
        """The seconds of the fastest of a few requests: an image of zeros, a short answer."""
        return min([await self._once(round) for round in range(ROUNDS)])

    async def answer(self, visual_tokens: int = 1, output_tokens: int = 1, id: str = "dummy") -> None:
        """Answer a dummy request. No tenant's figures count it."""
        side = self.builder.merge * math.isqrt(visual_tokens)
        message = ChatMessage("user", (ImagePart(0), TextPart("?")))
        prompt = self.builder.build((message,), [(1, side, side)])
        sampling = Sampling(max_new_tokens=output_tokens, ignore_eos=True)
        request = EngineRequest(id, prompt, sampling, dummy=True)
        values = np.zeros(self.layout.values, dtype=np.float32)
        streams = [self._rows(image.rows, values.tobytes()) for image in request.prompt.images]
        async with aclosing(self.engine.submit(request, streams, self.layout)) as deltas:
            async for _ in deltas:
                pass

    async def _once(self, round: int) -> float:
        room = self.engine.limits.max_context // 2
        output = min(OUTPUT_TOKENS, self.engine.limits.max_new_tokens)
        began = self.clock()
        await self.answer(min(VISUAL_TOKENS, room), output, f"dummy {round}")
        return self.clock() - began

    @staticmethod
    async def _rows(count: int, row: bytes) -> AsyncIterator[RowChunk]:
        yield RowChunk(0, count, row * count)
