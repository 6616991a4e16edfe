"""Decode steps of the native engine over a grid of contexts and batches, with the bytes that each must read.

The engine runs in this process, without the service. Prompts are random and all different, so no sequences
share blocks. Experts are counted as if every token chose uniformly.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import AutoConfig

from bench.parts.roofline import TextSize, expected_distinct
from bench.parts.steps import Steps, decode_steps, engine_settings, random_prompts
from decoder_svc.engine.native import NativeEngine
from fovea.rows import RowDtype

CHUNK = 2048


@dataclass(frozen=True)
class Grid:
    """`most` bounds the tokens of a cell of the grid: larger cells are left out."""

    contexts: Sequence[int]
    batches: Sequence[int]
    most: int
    samples: int

    @property
    def cells(self) -> list[tuple[int, int]]:
        pairs = itertools.product(self.contexts, self.batches)
        return [(context, batch) for context, batch in pairs if context * batch <= self.most]

    @property
    def new_tokens(self) -> int:
        """The first answer continues while the other prompts are prefilled, a token a step."""
        return self.samples + 16 + max(batch * -(-context // CHUNK) + batch for context, batch in self.cells)


@dataclass(frozen=True)
class Point:
    """A cell of the grid: the median step, and what it reads."""

    context: int
    batch: int
    bytes: float
    seconds: float


def measure(model: Path, grid: Grid, threads: int, seed: int) -> list[Point]:
    """On the CPU in fp32."""
    settings = engine_settings(model, RowDtype.FP32, "cpu", grid.cells, grid.new_tokens, 0, CHUNK, threads)
    return asyncio.run(_measure(NativeEngine(settings), model, grid, seed))


async def _measure(engine: NativeEngine, model: Path, grid: Grid, seed: int) -> list[Point]:
    config = AutoConfig.from_pretrained(model)
    vocabulary = config.text_config.vocab_size // 2
    await engine.start()
    try:
        points = []
        for number, (context, batch) in enumerate(grid.cells):
            prompts = random_prompts(vocabulary, batch, context, 1000 * seed + number)
            steps = await decode_steps(engine, prompts, grid.samples)
            points.append(point(TextSize.of(config), context, batch, steps))
        return points
    finally:
        await engine.close()


def point(size: TextSize, context: int, batch: int, steps: Steps) -> Point:
    distinct = [expected_distinct(size.experts, size.each, batch)] * size.layers
    read = size.step_bytes(distinct, steps.context, RowDtype.FP32.itemsize)
    return Point(context, batch, read, statistics.median(steps.seconds))
