"""Our native engine as a side, by its own protocol; nothing of the services."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import Any

from bench.sides.child import Answered, answered
from bench.sides.material import Question
from decoder_svc.engine.protocol import EngineLimits, EngineRequest, Quantization, RowChunk, Sampling
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.rows import RowDtype, RowLayout

CONTEXT = 2048


class NativeSide:
    quantization: Quantization = "none"

    def __init__(self, options: argparse.Namespace) -> None:
        limits = EngineLimits(max_context=CONTEXT, max_new_tokens=CONTEXT)
        self._args = {"max_running": options.concurrency, "threads": options.threads}
        self._engine = NativeEngine(
            NativeSettings(
                options.model,
                RowDtype.FP32,
                ("cpu",),
                quantization=self.quantization,
                limits=limits,
                **self._args,
            )
        )
        self._numbers = itertools.count()

    async def start(self) -> dict[str, Any]:
        await self._engine.start()
        shape = self._engine.layout
        self._layout = RowLayout(shape.width, shape.levels, RowDtype.FP32)
        about = f"{self._engine.description}, fp32, weights {self.quantization}, {self._args}"
        return {"version": version("fovea"), "args": about}

    async def answers(self, asked: Sequence[Question], tokens: int, gaps: bool) -> list[Answered]:
        sampling = Sampling(max_new_tokens=tokens, ignore_eos=True)
        return list(await asyncio.gather(*(self._answer(q, sampling) for q in asked)))

    async def _answer(self, q: Question, sampling: Sampling) -> Answered:
        begin, first, tokens = time.perf_counter(), 0.0, list[int]()
        request = EngineRequest(str(next(self._numbers)), q.prompt, sampling)
        async for delta in self._engine.submit(request, [self._rows(q)], self._layout):
            first = first or time.perf_counter()
            tokens += delta.token_ids
        return answered(tokens, first - begin)

    async def _rows(self, q: Question) -> AsyncIterator[RowChunk]:
        yield RowChunk(0, len(q.rows), memoryview(q.rows.tobytes()))

    async def close(self) -> None:
        await self._engine.close()


class Int8Side(NativeSide):
    """The same with weights that rest in int8."""

    quantization = "int8"
