"""Unpacking rows of every dtype, from bytes written by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch

from decoder_svc.engine.protocol import EngineRequest, ImageSpan, Prompt, RowChunk, Sampling
from decoder_svc.model.unpack import unpack
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.rows import RowDtype, RowLayout
from tests import tiny
from tests.decoder.native_engine.harness import collect, settings, tokens

COUNT = 6


def written(layout: RowLayout) -> tuple[bytes, torch.Tensor]:
    """Packed rows and their values, (rows, 1 + levels, width)."""
    random = np.random.default_rng(3)
    integers = random.integers(-8, 9, (COUNT, layout.values))
    scales = random.choice([0.5, 1.0, 3.0], (COUNT, layout.scales)).astype("<f4")
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.float8_e4m3fn, "int8": torch.int8}
    values = torch.from_numpy(integers).to(kind.get(layout.dtype.value, torch.float32)).view(torch.uint8)
    data = np.concatenate([values.numpy(), scales.view(np.uint8)], axis=1)
    said = integers * (scales.repeat(layout.group, axis=1) if layout.scales else 1)
    return data.tobytes(), torch.from_numpy(said).float().view(COUNT, 1 + layout.levels, layout.width)


@pytest.mark.parametrize("dtype", list(RowDtype))
@pytest.mark.parametrize("width", [64, 128, 30])
def test_packed_rows_unpack_to_the_dtype_of_the_model(dtype: RowDtype, width: int) -> None:
    layout = RowLayout(width, 3, dtype)
    data, said = written(layout)
    packed = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(COUNT, layout.row_bytes)
    assert torch.equal(unpack(packed, layout, torch.float32), said)
    assert unpack(packed[2:4], layout, torch.bfloat16).dtype is torch.bfloat16
    assert torch.equal(unpack(packed[2:4], layout, torch.bfloat16), said[2:4].bfloat16())


async def chunks(data: bytes, layout: RowLayout) -> AsyncIterator[RowChunk]:
    for first in range(0, COUNT, 4):
        rows = min(4, COUNT - first)
        start = first * layout.row_bytes
        yield RowChunk(first, rows, data[start : start + rows * layout.row_bytes])


async def test_an_engine_answers_alike_to_equal_rows_in_every_dtype(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path, "moe")
    engine = NativeEngine(settings(folder))
    await engine.start()
    try:
        answers = {}
        for dtype in RowDtype:
            layout = RowLayout(engine.shape.width, engine.shape.levels, dtype)
            data, said = written(layout)
            plain = RowLayout(layout.width, layout.levels, RowDtype.FP32)
            asked = [(data, layout), (said.numpy().tobytes(), plain)]
            answers[dtype] = [await answered(engine, folder, rows, question) for rows, question in asked]
    finally:
        await engine.close()
    assert all(packed == plain for packed, plain in answers.values()), answers
    assert len({packed for packed, _ in answers.values()}) > 1, "the rows did not matter: nothing was tested"


async def answered(engine: NativeEngine, folder: Path, rows: bytes, layout: RowLayout) -> tuple[int, ...]:
    from decoder_svc.model.checkpoint import Checkpoint

    image = Checkpoint(folder).image_token_id
    ids = np.array([5, 6, *[image] * COUNT, 7, 8], np.int32)
    positions = np.tile(np.arange(len(ids), dtype=np.int32), (3, 1))
    prompt = Prompt(ids, positions, len(ids), (ImageSpan(2, (1, 4, 6), COUNT),))
    request = EngineRequest(layout.dtype.value, prompt, Sampling(max_new_tokens=8))
    return tokens(await collect(engine.submit(request, [chunks(rows, layout)], layout)))
