"""Shared by the engine's tests: the transformers reference, its prompts and answers, row streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen3VLForConditionalGeneration, Qwen3VLMoeForConditionalGeneration

from decoder_svc.engine.protocol import (
    Delta,
    EngineLimits,
    EngineRequest,
    ImageSpan,
    Prompt,
    RowChunk,
    Sampling,
)
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.rows import RowDtype, RowLayout

# Below this gap between its two best logits the reference itself could say either in fp32.
TIE = 1e-4
GRIDS = ((1, 4, 6), (1, 8, 4), (1, 2, 2), (1, 6, 10), (1, 10, 2))


@dataclass(frozen=True, eq=False)
class Question:
    """A prompt, the rows of its images as (rows, 1 + levels, width), and the answer of the reference."""

    prompt: Prompt
    rows: tuple[torch.Tensor, ...]
    answer: tuple[int, ...]
    gaps: tuple[float, ...]  # between the reference's two best logits, a token
    logprobs: tuple[float, ...] = ()  # of the answer's tokens


class Reference:
    """The monolithic model with its own tower, positions and generate."""

    def __init__(self, folder: Path, kind: str) -> None:
        moe = kind == "moe"
        family = Qwen3VLMoeForConditionalGeneration if moe else Qwen3VLForConditionalGeneration
        self.model = family.from_pretrained(folder, dtype=torch.float32).eval()
        self.config = self.model.config

    @torch.inference_mode()
    def ask(self, images: int, seed: int, tokens: int = 12) -> Question:
        """Random text around `images` random images of different sizes."""
        random = np.random.default_rng(seed)
        grids = [GRIDS[(seed + i) % len(GRIDS)] for i in range(images)]
        ids, starts = self._ids(random, grids)
        inputs = self._inputs(random, ids, grids)
        rows = self._rows(inputs) if images else ()
        positions, delta = self.model.model.get_rope_index(
            inputs["input_ids"], inputs["mm_token_type_ids"], inputs.get("image_grid_thw")
        )
        out = self.model.generate(
            **inputs,
            max_new_tokens=tokens,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        logits = torch.cat(out.logits).float()
        best = logits.topk(2).values
        spans = tuple(
            ImageSpan(start, grid, len(row)) for start, grid, row in zip(starts, grids, rows, strict=True)
        )
        prompt = Prompt(ids, positions[:, 0].numpy().astype(np.int32), len(ids) + int(delta), spans)
        answer = out.sequences[0, len(ids) :]
        known = logits.log_softmax(-1).gather(-1, answer[:, None])[:, 0]
        gaps = tuple((best[:, 0] - best[:, 1]).tolist())
        return Question(prompt, rows, tuple(answer.tolist()), gaps, tuple(known.tolist()))

    def _ids(
        self, random: np.random.Generator, grids: Sequence[tuple[int, int, int]]
    ) -> tuple[np.ndarray, list[int]]:
        c = self.config
        ids: list[int] = random.integers(0, 300, random.integers(3, 30)).tolist()
        starts = []
        for _, h, w in grids:
            ids.append(c.vision_start_token_id)
            starts.append(len(ids))
            ids += [c.image_token_id] * (h * w // 4) + [c.vision_end_token_id]
            ids += random.integers(0, 300, random.integers(0, 9)).tolist()
        ids += random.integers(0, 300, random.integers(1, 9)).tolist()
        return np.array(ids, np.int32), starts

    def _inputs(
        self, random: np.random.Generator, ids: np.ndarray, grids: Sequence[tuple[int, int, int]]
    ) -> dict[str, torch.Tensor]:
        tokens = torch.from_numpy(ids).long()[None]
        inputs = {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "mm_token_type_ids": (tokens == self.config.image_token_id).int(),
        }
        if grids:
            patches = sum(h * w for _, h, w in grids)
            pixels = random.normal(size=(patches, 3 * 2 * 16 * 16)).astype(np.float32)
            inputs["pixel_values"] = torch.from_numpy(pixels)
            inputs["image_grid_thw"] = torch.tensor(grids)
        return inputs

    def _rows(self, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        features = self.model.model.get_image_features(
            inputs["pixel_values"], inputs["image_grid_thw"], return_dict=True
        )
        # Older transformers split the pooled rows by image, newer ones the deepstack levels too.
        levels = [features.pooler_output, *features.deepstack_features]
        whole = [level if torch.is_tensor(level) else torch.cat(level) for level in levels]
        return torch.stack(whole, dim=1).split([len(image) for image in features.pooler_output])


def layout_of(rows: torch.Tensor) -> RowLayout:
    return RowLayout(rows.shape[2], rows.shape[1] - 1, RowDtype.FP32)


async def stream(rows: torch.Tensor, chunk: int = 5) -> AsyncIterator[RowChunk]:
    """The rows of an image, `chunk` at a time, yielding to the loop in between."""
    for first in range(0, len(rows), chunk):
        part = rows[first : first + chunk].contiguous()
        await asyncio.sleep(0)
        yield RowChunk(first, len(part), part.numpy().tobytes())


def settings(folder: Path, **changes: Any) -> NativeSettings:
    defaults: dict[str, Any] = {
        "dtype": RowDtype.FP32,
        "devices": ("cpu",),
        "kv_tokens": 4096,
        "limits": EngineLimits(max_context=1024, max_new_tokens=64),
    }
    return NativeSettings(folder, **(defaults | changes))


async def collect(deltas: AsyncIterator[Delta]) -> list[Delta]:
    return [delta async for delta in deltas]


async def answer(
    engine: NativeEngine, question: Question, sampling: Sampling, name: str = "one"
) -> list[Delta]:
    layout = layout_of(question.rows[0]) if question.rows else None
    request = EngineRequest(name, question.prompt, sampling)
    return await collect(engine.submit(request, [stream(r) for r in question.rows], layout))


def tokens(deltas: Sequence[Delta]) -> tuple[int, ...]:
    return tuple(token for delta in deltas for token in delta.token_ids)


def text(deltas: Sequence[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def assert_equal_but_for_ties(got: tuple[int, ...], question: Question) -> int:
    """Asserts equal tokens up to the first tie of the reference. Returns 1 and prints it if there was a tie."""
    for place, (ours, theirs) in enumerate(zip(got, question.answer, strict=False)):
        if ours != theirs:
            gap = question.gaps[place]
            assert gap < TIE, f"token {place}: {ours}, the reference says {theirs} by {gap}"
            print(f"tie at token {place}: {ours} or {theirs}, {gap:.1e} apart")
            return 1
    assert len(got) == len(question.answer)
    return 0


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for another thread. The limit only guards against hanging."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.002)


def is_empty(engine: NativeEngine) -> bool:
    load = engine.load()
    return (load.running, load.waiting, load.kv_used_blocks) == (0, 0, 0)
