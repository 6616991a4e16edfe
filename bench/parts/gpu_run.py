"""One run on one device: the machine's own rates first, then tower, engine and reference on shared weights.

Puts the parts together in the order that the memory allows, and keeps the plain times, with the arithmetic
and the bytes that belong to them. Knows no target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench.parts import gpu_times, roofline
from bench.parts.gpu_times import FirstTokens
from bench.parts.in_process import Words, load_tower
from bench.parts.random_checkpoint import RandomCheckpoint
from bench.parts.reference import Reference, Verdict
from bench.parts.roofline import Roofline
from bench.parts.sizes import TextSize, VisionSize
from bench.parts.steps import Steps, random_prompts
from decoder_svc.engine.protocol import EngineLimits, Prompt
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from encoder_svc.vision.tower import Tower
from fovea.contract.rows import RowDtype

TIES = {torch.float32: 1e-4, torch.bfloat16: 1 / 32}
"""How far below the best logit, of its size, a token may lie and still be as good a choice."""
PAGE = 256
_ROW_DTYPES = {torch.float32: RowDtype.FP32, torch.bfloat16: RowDtype.BF16}


@dataclass(frozen=True)
class Effort:
    """What is measured, and how often. `packed_patches` go into one call of the tower."""

    sides: tuple[int, ...]
    packed_patches: int
    context: int
    batches: tuple[int, ...]
    samples: int
    prefill: int
    answer: int
    rounds: int
    copied: int
    matrix: int


@dataclass(frozen=True)
class Setup:
    """`folder` is written to."""

    folder: Path
    config: dict[str, Any]
    device: torch.device
    dtype: torch.dtype
    seed: int


@dataclass(frozen=True)
class Found:
    """Plain times, a value a turn, and what they are to be held against. `images_per_s` and `image_flops` are
    by side, `steps` and `step_bytes` by batch; `alone_s` and `generate_s` are seconds a token. `own` are the
    verdicts of the reference on its own answer.
    """

    engine: str
    roofline: Roofline
    images_per_s: dict[int, list[float]]
    image_flops: dict[int, float]
    prefill_s: list[float]
    prefill_flops: float
    steps: dict[int, Steps]
    step_bytes: dict[int, float]
    alone_s: list[float]
    generate_s: list[float]
    first: FirstTokens
    verdicts: list[Verdict]
    own: list[Verdict]
    tie: float
    memory_bytes: int


async def measure(setup: Setup, effort: Effort, tell: Callable[[str], object]) -> Found:
    tell("what the device can do")
    machine = roofline.measure(setup.device, setup.dtype, effort.copied, effort.matrix)
    if setup.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(setup.device)
    tell("weights")
    checkpoint = RandomCheckpoint(setup.folder, setup.config, setup.device, setup.dtype, setup.seed)
    engine = NativeEngine(_settings(setup, effort), source=checkpoint)
    await engine.start()
    try:
        run = _Run(setup, effort, checkpoint, engine, tell)
        return await run.all(machine)
    finally:
        await engine.close()


class _Run:
    """The parts, loaded."""

    def __init__(
        self,
        setup: Setup,
        effort: Effort,
        checkpoint: RandomCheckpoint,
        engine: NativeEngine,
        tell: Callable[[str], object],
    ) -> None:
        config = checkpoint.config
        self._setup, self._effort, self._engine, self._tell = setup, effort, engine, tell
        self._tower: Tower = load_tower(checkpoint)
        self._reference = Reference(checkpoint)
        self._text, self._vision = TextSize.of(config.text_config), VisionSize.of(config.vision_config)
        self._words = Words(
            checkpoint.image_token_id,
            config.vision_start_token_id,
            config.vision_end_token_id,
            # The special tokens stand behind the plain ones.
            min(config.text_config.bos_token_id, config.vision_start_token_id),
        )

    async def all(self, machine: Roofline) -> Found:
        effort, seed = self._effort, self._setup.seed
        self._tell("a greedy answer against the reference")
        verdicts, own = await gpu_times.judged(
            self._tower, self._engine, self._reference, self._words, effort.sides[0], effort.answer, seed
        )
        self._tell("images")
        images = {side: self._images_per_s(side) for side in effort.sides}
        self._tell("prefill")
        prefill = await gpu_times.prefill_s(self._engine, self._words, effort.prefill, effort.rounds, seed)
        self._tell("first tokens")
        first = await gpu_times.first_tokens(
            self._tower, self._engine, self._words, effort.sides[-1], effort.rounds, seed
        )
        steps, step_bytes = await self._decode()
        self._tell("generate")
        (prompt,) = self._prompts(1)
        alone, generated = await gpu_times.steps_and_generate(
            self._engine, self._reference, prompt, effort.samples, effort.rounds
        )
        return Found(
            engine=self._engine.description,
            roofline=machine,
            images_per_s=images,
            image_flops={side: self._vision.flops((side // 16) ** 2) for side in effort.sides},
            prefill_s=prefill,
            prefill_flops=self._text.prefill_flops(effort.prefill),
            steps=steps,
            step_bytes=step_bytes,
            alone_s=alone,
            generate_s=generated,
            first=first,
            verdicts=verdicts,
            own=own,
            tie=TIES[self._setup.dtype],
            memory_bytes=_peak_memory(self._setup.device),
        )

    def _images_per_s(self, side: int) -> list[float]:
        at_once = max(1, self._effort.packed_patches // (side // 16) ** 2)
        return gpu_times.images_per_s(self._tower, side, at_once, self._effort.rounds, self._setup.seed)

    async def _decode(self) -> tuple[dict[int, Steps], dict[int, float]]:
        steps, step_bytes = {}, {}
        for batch in self._effort.batches:
            self._tell(f"decode steps of {batch}")
            prompts = self._prompts(batch)
            steps[batch] = await gpu_times.decode(self._engine, prompts, self._effort.samples)
            distinct = self._reference.touched([prompt.token_ids for prompt in prompts])
            step_bytes[batch] = self._text.step_bytes(
                distinct, steps[batch].context, self._setup.dtype.itemsize
            )
        return steps, step_bytes

    def _prompts(self, batch: int) -> list[Prompt]:
        return random_prompts(self._words.plain, batch, self._effort.context, self._setup.seed + batch)


def _settings(setup: Setup, effort: Effort) -> NativeSettings:
    """Room for the largest batch, with the answers that go on while its last prompts are prefilled."""
    most = max(effort.batches)
    new = max(effort.samples + 16 + most, effort.answer)
    pictures = (max(effort.sides) // 32) ** 2 + 4 * gpu_times.TEXT
    longest = max(effort.prefill, effort.context, pictures) + new
    return NativeSettings(
        setup.folder,
        dtype=_ROW_DTYPES[setup.dtype],
        devices=(str(setup.device),),
        kv_tokens=max(most * (effort.context + new + PAGE), longest + PAGE),
        prefill_chunk=effort.prefill,
        max_running=most,
        limits=EngineLimits(max_context=longest, max_new_tokens=new),
    )


def _peak_memory(device: torch.device) -> int:
    """0 where the device does not count it."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
