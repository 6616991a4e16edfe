"""Our native engine as a side, through the engine protocol alone; no service runs."""

from __future__ import annotations

import argparse
import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import Any

from bench.sides.child import gather
from bench.sides.side import Answer, Question
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
        shape = self._engine.shape
        self._layout = RowLayout(shape.width, shape.levels, RowDtype.FP32)
        args = f"{self._engine.description}, fp32, weights {self.quantization}, {self._args}"
        return {"version": version("fovea"), "args": args}

    async def answers(self, questions: Sequence[Question], tokens: int, gaps: bool) -> list[Answer]:
        sampling = Sampling(max_new_tokens=tokens, ignore_eos=True)
        return list(await asyncio.gather(*(gather(self._deltas(q, sampling)) for q in questions)))

    async def _deltas(self, q: Question, sampling: Sampling) -> AsyncIterator[Sequence[int]]:
        request = EngineRequest(str(next(self._numbers)), q.prompt, sampling)
        async for delta in self._engine.submit(request, [_chunks(q)], self._layout):
            if delta.token_ids:  # the first delta only says that the request was admitted
                yield delta.token_ids

    async def close(self) -> None:
        await self._engine.close()


class Int8Side(NativeSide):
    """The same with int8 weights."""

    quantization = "int8"


async def _chunks(q: Question) -> AsyncIterator[RowChunk]:
    yield RowChunk(0, len(q.rows), memoryview(q.rows.tobytes()))
