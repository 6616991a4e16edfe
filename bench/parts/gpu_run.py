"""A run on a device: first the device's own rates, then tower, engine and reference on shared weights.

Runs the parts in the order that memory allows. Independent of targets.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.parts import roofline
from bench.parts.in_process import (
    GEOMETRY,
    Encoded,
    PromptTokens,
    answer,
    draw_picture,
    encode,
    first_delta,
    load_tower,
)
from bench.parts.random_checkpoint import RandomCheckpoint
from bench.parts.reference import Reference, Verdict
from bench.parts.roofline import Roofline, TextSize, vision_flops
from bench.parts.steps import Steps, decode_steps, engine_settings, random_prompts
from bench.turns import ms_since
from decoder_svc.budget.cost import PrefillCost
from decoder_svc.engine.protocol import Prompt
from decoder_svc.native_engine.engine import NativeEngine
from encoder_svc.vision.preprocess import patches
from fovea.contract.rows import RowDtype

TIES = {torch.float32: 1e-4, torch.bfloat16: 1 / 32}
"""A tie: the largest gap to the best logit, relative to it, at which a token is an equally good choice."""
TEXT = 48
"""Tokens of text on each side of a picture."""
_ROW_DTYPES = {torch.float32: RowDtype.FP32, torch.bfloat16: RowDtype.BF16}

Samples = dict[str, dict[str, list[float]]]
"""By unit, then by measure: a value for each turn."""


@dataclass(frozen=True)
class Effort:
    """What is measured, and how often. `packed_patches` go into a call of the tower."""

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
    seed: int

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    @property
    def device_name(self) -> str:
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type


@dataclass
class GpuTimes:
    """What a run measured: rates, shares of what the device can do, and milliseconds.

    `step_bytes` are by batch; `single_s` and `generate_s` are seconds a token of a sequence. `verdicts` are
    those of the reference on our answer, `own_verdicts` those on its own. `memory_bytes` is 0 where the
    device does not count it.
    """

    roofline: Roofline
    tie: float
    engine: str = ""
    samples: Samples = field(default_factory=lambda: defaultdict(dict))
    step_bytes: dict[int, float] = field(default_factory=dict)
    single_s: list[float] = field(default_factory=list)
    generate_s: list[float] = field(default_factory=list)
    verdicts: Sequence[Verdict] = ()
    own_verdicts: Sequence[Verdict] = ()
    memory_bytes: int = 0


async def measure(setup: Setup, effort: Effort, status: Callable[[str], object]) -> GpuTimes:
    status("what the device can do")
    cuda = setup.device.type == "cuda"
    machine = roofline.measure(setup.device, setup.dtype, effort.copied, effort.matrix)
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(setup.device)
    status("weights")
    checkpoint = RandomCheckpoint(setup.folder, setup.config, setup.device, setup.dtype, setup.seed)
    cells = [(effort.context, batch) for batch in effort.batches]
    pictures = (max(effort.sides) // 32) ** 2 + 4 * TEXT
    longest = max(effort.prefill, pictures)
    new = max(effort.samples + 16 + max(effort.batches), effort.answer)
    dtype, device = _ROW_DTYPES[setup.dtype], str(setup.device)
    settings = engine_settings(setup.folder, dtype, device, cells, new, longest, effort.prefill)
    engine = NativeEngine(settings, source=checkpoint)
    await engine.start()
    try:
        times = GpuTimes(machine, TIES[setup.dtype], engine.description)
        await _GpuRun(setup, effort, checkpoint, engine, times).measure(status)
    finally:
        await engine.close()
    times.memory_bytes = torch.cuda.max_memory_allocated(setup.device) if cuda else 0
    return times


class _GpuRun:
    """The loaded parts. Each method is a measurement; compared sides take turns within it.

    The first turn does not count, because it selects kernels.
    """

    def __init__(
        self,
        setup: Setup,
        effort: Effort,
        checkpoint: RandomCheckpoint,
        engine: NativeEngine,
        times: GpuTimes,
    ) -> None:
        self._setup, self._effort, self._seed = setup, effort, setup.seed
        self._engine, self._times, self._samples = engine, times, times.samples
        self._config = checkpoint.config
        self._tower = load_tower(checkpoint)
        self._reference = Reference(checkpoint)
        self._tokens = PromptTokens.of(checkpoint)
        self._text_seeds = itertools.count(10_000 * (setup.seed + 1))

    async def measure(self, status: Callable[[str], object]) -> None:
        status("a greedy answer against the reference")
        await self._judge_answers(self._effort.sides[0])
        status("images")
        for side in self._effort.sides:
            self._time_images(side)
        status("prefill")
        await self._time_prefill()
        status("first tokens")
        await self._time_first_tokens(self._effort.sides[-1])
        for batch in self._effort.batches:
            status(f"decode steps of {batch}")
            await self._time_decode(batch)
        status("generate")
        await self._time_single_and_generate()

    async def _judge_answers(self, side: int) -> None:
        """Two greedy answers about a picture, the engine's and that of `generate`. The reference judges each
        token, given the same prefix. Its verdicts on its own answer show its precision.
        """
        encoded = encode(self._tower, draw_picture(self._seed, side), RowDtype.FP32)
        prompt = self._tokens.prompt(encoded, self._random_text(), self._random_text())
        ours = await answer(self._engine, prompt, encoded, self._effort.answer)
        own = self._reference.answer(prompt.token_ids, encoded.image, self._effort.answer)
        self._times.verdicts, self._times.own_verdicts = (
            self._reference.verdicts(prompt.token_ids, encoded.image, token_ids) for token_ids in (ours, own)
        )

    def _time_images(self, side: int) -> None:
        """The tower alone, without preprocessing, several pictures packed in a call."""
        per_image = (side // 16) ** 2
        at_once = max(1, self._effort.packed_patches // per_image)
        images = [patches(draw_picture(self._seed + number, side), GEOMETRY) for number in range(at_once)]
        rates = []
        for _ in range(self._effort.rounds + 1):
            begin = time.perf_counter()
            self._tower.encode(images, RowDtype.BF16)
            rates.append(at_once / (time.perf_counter() - begin))
        share = vision_flops(self._config.vision_config, per_image) / self._times.roofline.flops_per_s
        self._samples["images/s"][f"encode_{side}"] = rates[1:]
        self._samples["ratio"][f"encode_{side}_share"] = [share * rate for rate in rates[1:]]

    async def _time_prefill(self) -> None:
        """From admission to the first token of a text, by the engine's clock."""
        length, seconds = self._effort.prefill, []
        for turn in range(self._effort.rounds + 1):
            (prompt,) = random_prompts(self._tokens.plain, 1, length, 31 * self._seed + turn)
            delta, _ = await first_delta(self._engine, prompt, None)
            seconds.append(delta.timings.prefill_ms / 1000)
        flops = PrefillCost.of(self._setup.config["text_config"]).flops(length)
        floor = flops / self._times.roofline.flops_per_s
        self._samples["ratio"]["prefill_share"] = [floor / s for s in seconds[1:]]
        self._samples["tokens/s"]["prefill_tokens_per_s"] = [length / s for s in seconds[1:]]

    async def _time_first_tokens(self, side: int) -> None:
        """Cold is preprocessing, tower and prefill. In the other cases the rows are in memory. The KV of the
        picture can be reused at the front of the prompt, but not after a new text. If the engine reuses none,
        there is no time for the prefix.
        """
        times: dict[str, list[float]] = {"cold": [], "rows": [], "prefix": []}
        for turn in range(self._effort.rounds + 1):
            rgb, begin = draw_picture(1000 * (self._seed + 1) + turn, side), time.perf_counter()
            encoded = encode(self._tower, rgb, RowDtype.BF16)
            await first_delta(self._engine, self._prompt_about(encoded, []), encoded)
            cold = ms_since(begin)
            behind_text = self._prompt_about(encoded, self._random_text())
            _, rows = await first_delta(self._engine, behind_text, encoded)
            again, prefix = await first_delta(self._engine, self._prompt_about(encoded, []), encoded)
            if turn:
                times["cold"].append(cold)
                times["rows"].append(rows)
                # The KV of the picture is reused except for what does not fill a block.
                times["prefix"] += [prefix] if again.usage.cached_prompt_tokens >= encoded.count / 2 else []
        self._samples["ms"] = {f"ttft_{name}_ms": ms for name, ms in times.items() if len(ms) > 1}

    async def _time_decode(self, batch: int) -> None:
        prompts = self._context_prompts(batch)
        await decode_steps(self._engine, prompts, 2)  # not counted: a new batch size
        steps = await decode_steps(self._engine, prompts, self._effort.samples)
        self._times.step_bytes[batch] = self._step_bytes(prompts, steps)
        floor = self._times.step_bytes[batch] / self._times.roofline.bytes_per_s
        self._samples["ratio"][f"decode_floor_{batch}"] = [floor / s for s in steps.seconds]
        self._samples["tokens/s"][f"decode_tokens_per_s_{batch}"] = [batch / s for s in steps.seconds]

    def _step_bytes(self, prompts: Sequence[Prompt], steps: Steps) -> float:
        distinct = self._reference.touched([prompt.token_ids for prompt in prompts])
        return TextSize.of(self._config).step_bytes(distinct, steps.context, self._setup.dtype.itemsize)

    async def _time_single_and_generate(self) -> None:
        """A single sequence: the engine and `generate`, in turns, on the same prompt."""
        (prompt,) = self._context_prompts(1)
        for turn in range(self._effort.rounds + 1):
            steps = await decode_steps(self._engine, [prompt], self._effort.samples)
            generated = self._reference.token_seconds(prompt.token_ids, self._effort.samples)
            if turn:
                self._times.single_s.append(float(np.median(steps.seconds)))
                self._times.generate_s.append(generated)

    def _context_prompts(self, batch: int) -> list[Prompt]:
        return random_prompts(self._tokens.plain, batch, self._effort.context, self._seed + batch)

    def _prompt_about(self, encoded: Encoded, front: list[int]) -> Prompt:
        return self._tokens.prompt(encoded, front, self._random_text(), key=encoded.rows[:32])

    def _random_text(self) -> list[int]:
        return self._tokens.random(TEXT, next(self._text_seeds))
