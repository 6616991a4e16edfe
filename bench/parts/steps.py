"""The time of a decode step of the native engine, for given sequences and over a grid of sizes.

Uses only the engine's public interface: prompts are submitted, and the clock of the deltas says when each
token was computed. Steps count only after every prompt has its first token, so that no prefill is included.
The engine runs in this process, without the service. Prompts share no blocks.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from transformers import AutoConfig

from bench.parts.in_process import first_token
from bench.parts.roofline import TextSize, expected_distinct
from decoder_svc.engine.protocol import Delta, EngineLimits, EngineRequest, Prompt, Sampling
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.rows import RowDtype

WARM_UP = 2
CHUNK = 2048
BLOCK = 256
"""At least the tokens of a block of KV."""
IDLE_POLL_S = 0.001
_numbers = itertools.count()


@dataclass(frozen=True)
class Steps:
    """Seconds of single steps; a step reads `context` tokens of KV, those of all sequences."""

    seconds: tuple[float, ...]
    context: float


def engine_settings(
    model: Path,
    dtype: RowDtype,
    device: str,
    cells: Sequence[tuple[int, int]],
    new_tokens: int,
    longest: int,
    prefill_chunk: int,
    threads: int = 0,
) -> NativeSettings:
    """Room for each (context, batch) with `new_tokens` a sequence, and for a prompt of `longest`."""
    longest = max(longest, *(context for context, _ in cells)) + new_tokens
    room = max(batch * (context + new_tokens + BLOCK) for context, batch in cells)
    return NativeSettings(
        model,
        dtype=dtype,
        devices=(device,),
        kv_tokens=max(room, longest + BLOCK),
        prefill_chunk=prefill_chunk,
        max_running=max(batch for _, batch in cells),
        threads=threads,
        limits=EngineLimits(max_context=longest, max_new_tokens=new_tokens),
    )


def random_prompts(vocabulary: int, count: int, length: int, seed: int) -> list[Prompt]:
    """Without images; token ids below `vocabulary`, which excludes special tokens where they come last."""
    ids = np.random.default_rng(seed).integers(vocabulary, size=(count, length), dtype=np.int32)
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), (3, length))
    return [Prompt(row, positions, length) for row in ids]


async def decode_steps(engine: NativeEngine, prompts: Sequence[Prompt], samples: int) -> Steps:
    """Run all answers until `samples` steps were timed with all of them running. End tokens are ignored.

    The engine must hold all prompts at once, and its `max_new_tokens` must let the first answer last until
    the last prompt has been prefilled and the steps were timed.
    """
    watch = _Watch(len(prompts), samples)
    tasks = [asyncio.create_task(_follow(engine, prompt, watch)) for prompt in prompts]
    enough = asyncio.create_task(watch.enough.wait())
    await asyncio.wait([enough, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (enough, *tasks):
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    # Cancelled sequences may still be in a last step. No event reports it, and it would disturb the next run.
    while engine.load().running:  # noqa: ASYNC110
        await asyncio.sleep(IDLE_POLL_S)
    if not watch.enough.is_set():
        raise RuntimeError(f"an answer ended with {len(watch.seconds)} of {samples} steps timed")
    return Steps(tuple(watch.seconds), float(np.mean(watch.contexts)))


@dataclass
class _Watch:
    """The progress of all sequences. Only the last to start is timed: all others are running by then."""

    sequences: int
    samples: int
    started: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    contexts: list[int] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, name: str, order: int, before: Delta, delta: Delta) -> None:
        """A later token of the sequence that started as number `order`."""
        self.lengths[name] = delta.usage.prompt_tokens + delta.usage.output_tokens
        made = delta.usage.output_tokens - before.usage.output_tokens
        if order < self.sequences or before.usage.output_tokens < WARM_UP or self.enough.is_set():
            return
        spent = delta.timings.decode_ms - before.timings.decode_ms
        self.seconds.append(spent / made / 1000)
        self.contexts.append(sum(self.lengths.values()))
        if len(self.seconds) >= self.samples:
            self.enough.set()


async def _follow(engine: NativeEngine, prompt: Prompt, watch: _Watch) -> None:
    sampling = Sampling(max_new_tokens=engine.limits.max_new_tokens, ignore_eos=True)
    name = f"steps {next(_numbers)}"
    async with aclosing(engine.submit(EngineRequest(name, prompt, sampling), [])) as deltas:
        before = await first_token(deltas)
        watch.started += 1
        order = watch.started
        async for delta in deltas:
            if delta.usage.output_tokens > before.usage.output_tokens:
                watch.record(name, order, before, delta)
                before = delta


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


def measure_grid(model: Path, grid: Grid, threads: int, seed: int) -> list[Point]:
    """On the CPU in fp32. Experts are counted as if every token chose uniformly."""
    settings = engine_settings(model, RowDtype.FP32, "cpu", grid.cells, grid.new_tokens, 0, CHUNK, threads)
    return asyncio.run(_measure_grid(NativeEngine(settings), model, grid, seed))


async def _measure_grid(engine: NativeEngine, model: Path, grid: Grid, seed: int) -> list[Point]:
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
