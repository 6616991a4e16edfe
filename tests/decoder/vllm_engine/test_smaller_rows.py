"""vLLM gives the same answers for packed rows and for their values."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import torch

from decoder_svc.engine.protocol import EngineRequest, RowChunk, Sampling
from decoder_svc.model.unpack import unpack
from decoder_svc.vllm_engine.engine import VllmEngine
from encoder_svc.vision.pack import pack
from fovea.contract.rows import RowDtype, RowLayout
from tests.decoder.native_engine.harness import Question, answer, collect, layout_of, tokens

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]
GREEDY = Sampling(max_new_tokens=12)


async def stream(packed: torch.Tensor) -> AsyncIterator[RowChunk]:
    yield RowChunk(0, len(packed), packed.numpy().tobytes())


@pytest.mark.parametrize("dtype", [RowDtype.FP8, RowDtype.INT8, RowDtype.BF16])
async def test_packed_rows_give_the_answers_of_their_values(
    engines: dict[str, VllmEngine], questions: dict[str, list[Question]], dtype: RowDtype
) -> None:
    engine = engines["moe"]
    for number, question in enumerate(q for q in questions["moe"] if q.rows):
        plain = layout_of(question.rows[0])
        layout = RowLayout(plain.width, plain.levels, dtype)
        packed = [pack(rows.flatten(1), layout) for rows in question.rows]
        said = tuple(unpack(rows, layout, torch.float32) for rows in packed)
        request = EngineRequest(f"{dtype.value} {number}", question.prompt, GREEDY)
        ours = tokens(await collect(engine.submit(request, [stream(rows) for rows in packed], layout)))
        numbers = Question(question.prompt, said, question.answer, question.gaps)
        assert ours == tokens(await answer(engine, numbers, GREEDY, f"plain {dtype.value} {number}"))
