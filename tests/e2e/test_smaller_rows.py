"""Smaller rows are near enough: signal over noise a level, and the answers that the stand-in goes on to give.

The rows are those of the trained stand-in for held-out pictures of every kind, out of its own tower, in fp32
and in each smaller dtype; the figures are printed. The answers run on for 64 tokens behind the end that the
model would have chosen, so that a difference anywhere would show.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

import standin
from decoder_svc.engine.protocol import EngineLimits, EngineRequest, Prompt, RowChunk, Sampling
from decoder_svc.model.unpack import unpack
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart
from encoder_svc.vision.preprocess import patches
from encoder_svc.vision.tower import Tower
from fovea.contract.rows import RowDtype, RowLayout
from fovea.geometry import Geometry
from standin.dataset import heldout
from standin.questions import CHANCE

pytestmark = pytest.mark.timeout(120)
TOKENS = 64
SMALLER = (RowDtype.FP8, RowDtype.INT8)
LEAST_DB = {RowDtype.BF16: 45.0, RowDtype.FP8: 28.0, RowDtype.INT8: 28.0}


@dataclass(frozen=True)
class Lesson:
    """A question and the rows of its picture in every dtype."""

    prompt: Prompt
    rows: dict[RowDtype, bytes]


@pytest.fixture(scope="module")
def folder() -> Path:
    return standin.model_dir()


@pytest.fixture(scope="module")
def tower(folder: Path) -> Tower:
    return Tower.load(folder)


@pytest.fixture(scope="module")
def lessons(folder: Path, tower: Tower) -> list[Lesson]:
    """A question of each kind."""
    geometry, builder = Geometry.from_checkpoint(folder), PromptBuilder(folder)
    made = []
    for kind in CHANCE:
        (asked,) = heldout(kind, 1)
        image = patches(np.asarray(asked.image.convert("RGB")), geometry)
        messages = (ChatMessage("user", (ImagePart(0), TextPart(asked.question))),)
        rows = {dtype: tower.encode([image], dtype)[0].rows for dtype in RowDtype}
        made.append(Lesson(builder.build(messages, [image.grid_thw]), rows))
    return made


def numbers(rows: bytes, layout: RowLayout) -> npt.NDArray[np.float64]:
    data = torch.frombuffer(bytearray(rows), dtype=torch.uint8).view(-1, layout.row_bytes)
    return unpack(data, layout, torch.float32).double().numpy()


@pytest.mark.parametrize("dtype", LEAST_DB)
def test_rows_differ_by_far_more_than_rounding(lessons: list[Lesson], tower: Tower, dtype: RowDtype) -> None:
    """Signal over noise of the worst row of each level, in decibels."""
    exact = np.concatenate(
        [numbers(lesson.rows[RowDtype.FP32], tower.layout(RowDtype.FP32)) for lesson in lessons]
    )
    small = np.concatenate([numbers(lesson.rows[dtype], tower.layout(dtype)) for lesson in lessons])
    signal, noise = (exact**2).sum(axis=2), ((small - exact) ** 2).sum(axis=2)
    db = 10 * np.log10(signal / np.maximum(noise, 1e-30))
    for level, (worst, median) in enumerate(zip(db.min(axis=0), np.median(db, axis=0), strict=True)):
        print(
            f"{dtype.value}, level {level}: worst row {worst:.1f} dB, median {median:.1f} dB, {len(db)} rows"
        )
    assert db.min() >= LEAST_DB[dtype]


@pytest.fixture(scope="module")
def answers(folder: Path, tower: Tower, lessons: list[Lesson]) -> dict[RowDtype, list[tuple[int, ...]]]:
    """The first 64 tokens of the stand-in's greedy answer, beyond its end."""
    return asyncio.run(answered(folder, tower, lessons))


async def answered(
    folder: Path, tower: Tower, lessons: list[Lesson]
) -> dict[RowDtype, list[tuple[int, ...]]]:
    limits = EngineLimits(2048, 64, 4096)
    engine = NativeEngine(NativeSettings(folder, RowDtype.FP32, ("cpu",), kv_tokens=16384, limits=limits))
    await engine.start()
    try:
        return {
            dtype: await asyncio.gather(
                *(
                    answer(engine, tower.layout(dtype), number, lesson)
                    for number, lesson in enumerate(lessons)
                )
            )
            for dtype in (RowDtype.BF16, *SMALLER)
        }
    finally:
        await engine.close()


async def answer(engine: NativeEngine, layout: RowLayout, number: int, lesson: Lesson) -> tuple[int, ...]:
    sampling = Sampling(max_new_tokens=TOKENS, ignore_eos=True)
    asked = EngineRequest(f"{layout.dtype.value} {number}", lesson.prompt, sampling)
    source = stream(lesson.rows[layout.dtype], layout)
    deltas = [delta async for delta in engine.submit(asked, [source], layout)]
    return tuple(token for delta in deltas for token in delta.token_ids)


async def stream(rows: bytes, layout: RowLayout) -> AsyncIterator[RowChunk]:
    yield RowChunk(0, len(rows) // layout.row_bytes, rows)


@pytest.mark.parametrize("dtype", SMALLER)
def test_the_stand_in_gives_the_tokens_of_bf16_rows(
    answers: dict[RowDtype, list[tuple[int, ...]]], dtype: RowDtype
) -> None:
    pairs = list(zip(answers[RowDtype.BF16], answers[dtype], strict=True))
    agree = [next((i for i, (a, b) in enumerate(zip(*p, strict=True)) if a != b), TOKENS) for p in pairs]
    whole = sum(tokens == TOKENS for tokens in agree)
    print(
        f"{dtype.value}: {whole} of {len(agree)} answers agree over {TOKENS} tokens; first differences {agree}"
    )
    assert sum(agree) / (TOKENS * len(agree)) >= 0.95
