"""Tower and engine in a single process, on the same random checkpoint: the models of both services.

Pictures are random; rows pass from the tower to the engine in memory, as bytes in the layout of the wire.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bench.parts.random_checkpoint import RandomCheckpoint
from bench.turns import ms_since
from decoder_svc.engine.protocol import Delta, EngineRequest, ImageSpan, Prompt, RowChunk, Sampling
from decoder_svc.native_engine.engine import NativeEngine
from decoder_svc.prompt.positions import mrope_positions
from encoder_svc.vision.modules import VisionModel
from encoder_svc.vision.preprocess import Patches, patches
from encoder_svc.vision.tower import Tower
from fovea.contract.rows import RowDtype, RowLayout
from fovea.geometry import Geometry

# Sides are whole visual tokens, so nothing is ever resized.
GEOMETRY = Geometry(min_pixels=32 * 32)
Rgb = NDArray[np.uint8]
_numbers = itertools.count()


def load_tower(checkpoint: RandomCheckpoint) -> Tower:
    """A tower that shares the tensors of the checkpoint."""
    with torch.device("meta"):
        model = VisionModel(checkpoint.architecture.vision_config)
    checkpoint.fill(model, "model.visual.")
    return Tower(model.eval(), GEOMETRY)


def draw_picture(seed: int, side: int) -> Rgb:
    """Noise, different for every seed."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A picture's rows as bytes, and the patches they were computed from."""

    image: Patches
    rows: bytes
    layout: RowLayout

    @property
    def count(self) -> int:
        return len(self.rows) // self.layout.row_bytes

    async def stream(self) -> AsyncIterator[RowChunk]:
        yield RowChunk(0, self.count, self.rows)


def encode(tower: Tower, rgb: Rgb, dtype: RowDtype) -> Encoded:
    """Preprocess a picture and compute its rows."""
    image = patches(rgb, GEOMETRY)
    return Encoded(image, tower.encode([image], dtype)[0].rows, tower.layout(dtype))


@dataclass(frozen=True)
class PromptTokens:
    """The token ids of a prompt about a picture; ids below `plain` are text."""

    image: int
    start: int
    end: int
    plain: int

    @classmethod
    def of(cls, checkpoint: RandomCheckpoint) -> PromptTokens:
        """Special tokens follow the plain ones."""
        config = checkpoint.config
        start, end = config.vision_start_token_id, config.vision_end_token_id
        return cls(checkpoint.image_token_id, start, end, min(config.text_config.bos_token_id, start))

    def random(self, count: int, seed: int) -> list[int]:
        ids: list[int] = np.random.default_rng(seed).integers(self.plain, size=count).tolist()
        return ids

    def prompt(self, encoded: Encoded, front: Sequence[int], back: Sequence[int], key: bytes = b"") -> Prompt:
        """Text, the picture between its tags, text."""
        ids = [*front, self.start, *[self.image] * encoded.count, self.end, *back]
        span = ImageSpan(len(front) + 1, encoded.image.grid_thw, encoded.count, key=key)
        positions, following = mrope_positions(len(ids), [span], GEOMETRY.merge)
        return Prompt(np.asarray(ids, np.int32), positions, following, (span,))


async def answer(engine: NativeEngine, prompt: Prompt, encoded: Encoded, tokens: int) -> list[int]:
    """The greedy answer, `tokens` long."""
    sampling = Sampling(max_new_tokens=tokens, ignore_eos=True)
    deltas = _submit(engine, prompt, sampling, encoded)
    return [token async for delta in deltas for token in delta.token_ids]


async def first_delta(engine: NativeEngine, prompt: Prompt, encoded: Encoded | None) -> tuple[Delta, float]:
    """The first token, and the milliseconds until it came; the request is cancelled then."""
    begin = time.perf_counter()
    async with aclosing(
        _submit(engine, prompt, Sampling(max_new_tokens=2, ignore_eos=True), encoded)
    ) as deltas:
        return await first_token(deltas), ms_since(begin)


async def first_token(deltas: AsyncGenerator[Delta, None]) -> Delta:
    """The first delta with a token. The delta before it only reports that the request was admitted."""
    async for delta in deltas:
        if delta.token_ids:
            return delta
    raise RuntimeError("the answer ended before its first token")


def _submit(
    engine: NativeEngine, prompt: Prompt, sampling: Sampling, encoded: Encoded | None
) -> AsyncGenerator[Delta, None]:
    request = EngineRequest(f"in process {next(_numbers)}", prompt, sampling)
    return (
        engine.submit(request, [encoded.stream()], encoded.layout) if encoded else engine.submit(request, [])
    )
