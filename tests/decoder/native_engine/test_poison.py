"""A value that is not finite ends the request that it is of, and touches no other: not now, not through reused pages."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from decoder_svc.engine.protocol import EngineRequest, Prompt, ResponseFormat, Sampling
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.errors import AnswerNotFinite, CheckpointNotSupported, RowsNotFinite
from fovea.contract.rows import RowDtype, RowLayout
from tests import tiny
from tests.decoder.native_engine.harness import (
    Question,
    answer,
    collect,
    is_empty,
    layout_of,
    settings,
    stream,
    tokens,
    until,
)

GREEDY = Sampling(max_new_tokens=12)
SPOILED = 7  # a token whose embedding is made NaN; no question has it


@asynccontextmanager
async def started(folder: Path, **changes: Any) -> AsyncIterator[NativeEngine]:
    """With a pool so small that every page is soon used again."""
    engine = NativeEngine(settings(folder, **({"kv_tokens": 1024, "prefill_chunk": 64} | changes)))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


@contextmanager
def spoiled_token(engine: NativeEngine) -> Iterator[None]:
    """What a damaged weight does to those who use it, and to nobody else."""
    weight = engine._loaded.model.text.embed_tokens.weight
    kept = weight[SPOILED].clone()
    with torch.no_grad():
        weight[SPOILED] = torch.nan
        yield
        weight[SPOILED] = kept


def spoiled(length: int) -> Prompt:
    """A text with the spoiled token in its middle."""
    ids = np.full(length, 65, np.int32)
    ids[length // 2] = SPOILED
    return Prompt(ids, np.tile(np.arange(length, dtype=np.int32), (3, 1)), length)


def without_spoiled(asked: list[Question]) -> list[Question]:
    return [q for q in asked if SPOILED not in q.prompt.token_ids and SPOILED not in q.answer]


async def answers_one_by_one(engine: NativeEngine, asked: list[Question]) -> list[tuple[int, ...]]:
    """Computed whole and alone: where arithmetic is coarse, company, what is cached and, with overlap, when rows
    come decide between tokens that are nearly equal.
    """
    apart = [replace(q, prompt=replace(q.prompt, salt=secrets.token_bytes(8))) for q in asked]
    return [tokens(await answer(engine, q, GREEDY)) for q in apart]


async def all_answers(engine: NativeEngine, asked: list[Question], name: str) -> list[tuple[int, ...]]:
    calls = (answer(engine, q, GREEDY, f"{name} {i}") for i, q in enumerate(asked))
    return [tokens(deltas) for deltas in await asyncio.gather(*calls)]


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"block_size": 4},
        {"block_size": 64},
        {"prefill_chunk": 7},
        {"prefix_cache": False},
        {"quantization": "int8", "overlap": False},
        {"dtype": RowDtype.BF16, "overlap": False},
    ],
    ids=lambda changes: " ".join(map(str, changes)) or "default",
)
async def test_a_non_finite_request_ends_alone_and_its_pages_are_harmless(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]], changes: dict[str, Any]
) -> None:
    asked = without_spoiled(questions["moe"])
    assert len(asked) > 3
    exact = not changes.keys() & {"quantization", "dtype"}
    async with started(checkpoints["moe"], **changes) as engine:
        before = await answers_one_by_one(engine, asked)
        with spoiled_token(engine):
            lengths = (2, 30, 200, 500)
            bad = [
                asyncio.ensure_future(
                    collect(engine.submit(EngineRequest(f"bad {n}", spoiled(n), GREEDY), ()))
                )
                for n in lengths
            ]
            beside = await all_answers(engine, asked, "beside")
            failures = await asyncio.gather(*bad, return_exceptions=True)
        assert {type(failure) for failure in failures} == {AnswerNotFinite}
        await until(lambda: is_empty(engine))
        assert await answers_one_by_one(engine, asked) == before
        assert not exact or beside == before


@pytest.mark.parametrize("fmt", [None, ResponseFormat("choice", ("yes", "no"))], ids=["free", "choice"])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
async def test_a_non_finite_answer_is_reported_and_not_sampled(
    checkpoints: dict[str, Path], fmt: ResponseFormat | None, temperature: float
) -> None:
    sampling = Sampling(
        max_new_tokens=4, temperature=temperature, response_format=fmt, logprobs=True, repetition_penalty=1.2
    )
    async with started(checkpoints["moe"]) as engine:
        with spoiled_token(engine), pytest.raises(AnswerNotFinite) as failure:
            await collect(engine.submit(EngineRequest("bad", spoiled(20), sampling), ()))
        assert failure.value.reason == "ANSWER_NOT_FINITE"
        assert failure.value.metadata == {"dtype": "fp32", "output_tokens": "0"}
        assert engine.healthy
        assert tokens(await collect(engine.submit(EngineRequest("good", spoiled(20), sampling), ())))


async def test_a_non_finite_request_keeps_no_block(checkpoints: dict[str, Path]) -> None:
    """Not even those that were filled before it went wrong: 500 tokens in chunks of 64, NaN in the middle."""
    async with started(checkpoints["moe"]) as engine:
        with spoiled_token(engine), pytest.raises(AnswerNotFinite):
            await collect(engine.submit(EngineRequest("bad", spoiled(500), GREEDY), ()))
        assert await engine.probe(spoiled(500)) == 0
        (*_, last) = await collect(engine.submit(EngineRequest("good", spoiled(500), GREEDY), ()))
        assert last.usage.cached_prompt_tokens == 0
        assert await engine.probe(spoiled(500)) > 0


async def test_a_block_held_by_another_request_stays_cached(checkpoints: dict[str, Path]) -> None:
    """One that goes wrong must not cost others what they share with it."""
    common = np.full(160, 66, np.int32)
    ids = np.concatenate([common, [SPOILED]]).astype(np.int32)
    bad = Prompt(ids, np.tile(np.arange(161, dtype=np.int32), (3, 1)), 161)
    good = Prompt(common, np.tile(np.arange(160, dtype=np.int32), (3, 1)), 160)
    long = Sampling(max_new_tokens=60, ignore_eos=True)
    async with started(checkpoints["moe"]) as engine:
        holder = engine.submit(EngineRequest("good", good, long), ())
        while not (first := await anext(holder)).token_ids:  # the first delta only says that it was admitted
            pass
        kept = await engine.probe(good)
        assert kept > 0
        with spoiled_token(engine), pytest.raises(AnswerNotFinite):
            await collect(engine.submit(EngineRequest("bad", bad, GREEDY), ()))
        assert await engine.probe(good) == kept
        assert len(first.token_ids) + len(tokens(await collect(holder))) == 60


def written(rows: torch.Tensor, dtype: RowDtype) -> tuple[RowLayout, torch.Tensor]:
    kinds = {RowDtype.BF16: torch.bfloat16, RowDtype.FP16: torch.float16, RowDtype.FP32: torch.float32}
    return replace(layout_of(rows), dtype=dtype), rows.to(kinds[dtype])


@pytest.mark.parametrize(
    ("rows", "engine_dtype", "value"),
    [
        (RowDtype.FP32, RowDtype.FP32, torch.nan),
        (RowDtype.FP32, RowDtype.FP32, -torch.inf),
        (RowDtype.FP32, RowDtype.FP16, 1e5),
        (RowDtype.BF16, RowDtype.FP16, 1e5),
        (RowDtype.BF16, RowDtype.FP16, -65536.0),
        (RowDtype.FP32, RowDtype.BF16, 3.4e38),
        (RowDtype.FP16, RowDtype.FP32, torch.inf),
    ],
)
async def test_rows_beyond_the_range_of_the_model_are_refused(
    checkpoints: dict[str, Path],
    questions: dict[str, list[Question]],
    rows: RowDtype,
    engine_dtype: RowDtype,
    value: float,
) -> None:
    """In the last row of an image; others answer as before, and so does the image once its rows are right."""
    asked = without_spoiled(questions["moe"])
    q = next(q for q in asked if len(q.rows) == 1 and len(q.rows[0]) > 4)
    prompt = replace(q.prompt, images=tuple(replace(image, key=b"image") for image in q.prompt.images))
    layout, good = written(q.rows[0], rows)
    bad = good.clone()
    bad[-1, -1, 3] = value

    async def chunks(data: torch.Tensor) -> Any:
        from decoder_svc.engine.protocol import RowChunk

        raw = data.contiguous().view(torch.uint8).numpy()
        for first in range(len(data)):
            yield RowChunk(first, 1, raw[first].tobytes())
            await asyncio.sleep(0)

    async def ask(name: str, data: torch.Tensor) -> tuple[int, ...]:
        request = EngineRequest(name, prompt, GREEDY)
        return tokens(await collect(engine.submit(request, [chunks(data)], layout)))

    async with started(checkpoints["moe"], dtype=engine_dtype, overlap=False) as engine:
        before = await answers_one_by_one(engine, asked)
        with pytest.raises(RowsNotFinite) as refused:
            await ask("bad", bad)
        assert refused.value.metadata == {"row": str(len(bad) - 1), "dtype": engine_dtype.value}
        await until(lambda: is_empty(engine))
        right = await ask("good", good)
        assert await ask("again", good) == right
        assert await answers_one_by_one(engine, asked) == before


@pytest.mark.parametrize(("dtype", "value"), [(RowDtype.FP16, 6e4), (RowDtype.BF16, 3.3e38)])
async def test_rows_that_overflow_only_inside_of_the_model_end_alone(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]], dtype: RowDtype, value: float
) -> None:
    """Finite as they come, and beyond the range once they are added up."""
    asked = without_spoiled(questions["moe"])
    q = next(q for q in asked if len(q.rows) == 2)
    prompt = replace(
        q.prompt, images=tuple(replace(i, key=bytes([n])) for n, i in enumerate(q.prompt.images))
    )
    request = EngineRequest("bad", prompt, GREEDY)
    async with started(checkpoints["moe"], dtype=dtype, overlap=False) as engine:
        before = await answers_one_by_one(engine, asked)
        loud = [torch.full_like(rows, value) for rows in q.rows]
        bad = collect(engine.submit(request, [stream(rows) for rows in loud], layout_of(q.rows[0])))
        failure, beside = await asyncio.gather(
            bad, all_answers(engine, asked, "beside"), return_exceptions=True
        )
        assert isinstance(failure, AnswerNotFinite)
        assert isinstance(beside, list)
        assert await engine.probe(prompt) < prompt.images[0].end
        assert await answers_one_by_one(engine, asked) == before


@pytest.mark.parametrize("quantization", ["none", "int8"])
@pytest.mark.parametrize(
    "name", ["model.language_model.embed_tokens.weight", "model.language_model.layers.2.self_attn.v_proj.weight",
             "model.language_model.layers.1.mlp.experts.down_proj", "lm_head.weight"]
)  # fmt: skip
async def test_a_checkpoint_with_a_weight_that_is_not_finite_is_refused(
    tmp_path: Path, name: str, quantization: str
) -> None:
    """A single one, which the answer to a dummy need not touch."""
    folder = tiny.checkpoint(tmp_path, "moe")
    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[-5] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointNotSupported, match=f"{name} holds values that are not finite in float32"):
        await NativeEngine(settings(folder, quantization=quantization)).start()


async def test_a_weight_beyond_the_range_of_the_dtype_is_refused(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path, "dense")
    weights = load_file(folder / "model.safetensors")
    weights["model.language_model.norm.weight"][3] = 1e5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointNotSupported, match="float16"):
        await NativeEngine(settings(folder, dtype=RowDtype.FP16)).start()
