"""Decode steps of the native engine over a grid of contexts and batches, with the bytes that each must read.

The engine runs in this process, as in the service but without it. Prompts are made up and all different, so
no two sequences share pages. Experts are counted as if every token chose evenly.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.parts.sizes import TextSize, expected_distinct
from bench.parts.steps import Steps, decode_steps, random_prompts
from decoder_svc.engine.protocol import EngineLimits
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.rows import RowDtype

CHUNK = 2048


@dataclass(frozen=True)
class Grid:
    """`most` bounds the tokens of one place of the grid: what is above it is left out."""

    contexts: Sequence[int]
    batches: Sequence[int]
    most: int
    samples: int

    @property
    def places(self) -> list[tuple[int, int]]:
        pairs = itertools.product(self.contexts, self.batches)
        return [(context, batch) for context, batch in pairs if context * batch <= self.most]

    @property
    def new_tokens(self) -> int:
        """The first answer goes on while the prompts of the others are prefilled, a token a step."""
        return self.samples + 16 + max(batch * -(-context // CHUNK) + batch for context, batch in self.places)


@dataclass(frozen=True)
class Point:
    """A place of the grid: the median step, and what it reads."""

    context: int
    batch: int
    bytes: float
    seconds: float


def measure(model: Path, grid: Grid, threads: int, seed: int) -> list[Point]:
    """On the CPU in fp32."""
    return asyncio.run(_measure(NativeEngine(_settings(model, grid, threads)), model, grid, seed))


async def _measure(engine: NativeEngine, model: Path, grid: Grid, seed: int) -> list[Point]:
    config = _text_config(model)
    await engine.start()
    try:
        points = []
        for number, (context, batch) in enumerate(grid.places):
            prompts = random_prompts(config.vocab_size // 2, batch, context, 1000 * seed + number)
            steps = await decode_steps(engine, prompts, grid.samples)
            points.append(point(TextSize.of(config), context, batch, steps))
        return points
    finally:
        await engine.close()


def point(size: TextSize, context: int, batch: int, steps: Steps) -> Point:
    distinct = [expected_distinct(size.experts, size.each, batch)] * size.layers
    read = size.step_bytes(distinct, steps.context, RowDtype.FP32.itemsize)
    return Point(context, batch, read, statistics.median(steps.seconds))


def _settings(model: Path, grid: Grid, threads: int) -> NativeSettings:
    """Room for the largest place of the grid, with the answers that go on meanwhile."""
    new = grid.new_tokens
    longest = max(grid.contexts) + new
    room = max(batch * (context + new + 64) for context, batch in grid.places)
    return NativeSettings(
        model,
        dtype=RowDtype.FP32,
        devices=("cpu",),
        kv_tokens=max(room, longest + 64),
        prefill_chunk=CHUNK,
        max_running=max(grid.batches),
        threads=threads,
        limits=EngineLimits(max_context=longest, max_new_tokens=new),
    )


def _text_config(model: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(model).text_config
