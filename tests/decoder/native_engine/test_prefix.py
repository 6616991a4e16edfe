"""Prefixes are reused by content and give the same tokens. Different content is never reused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from decoder_svc.engine.protocol import Delta, EngineLimits, EngineRequest, Prompt, RowChunk, Sampling
from decoder_svc.native_engine.engine import NativeEngine
from tests.decoder.native_engine.harness import (
    Question,
    assert_equal_but_for_ties,
    collect,
    is_empty,
    layout_of,
    settings,
    stream,
    tokens,
    until,
)

GREEDY = Sampling(max_new_tokens=12, ignore_eos=True)
BLOCK = 4


@pytest.fixture
async def small(checkpoints: dict[str, Path]) -> AsyncIterator[NativeEngine]:
    """An engine with small blocks, so that a short prompt fills several."""
    engine = NativeEngine(settings(checkpoints["moe"], block_size=BLOCK))
    await engine.start()
    yield engine
    await engine.close()


def keyed(question: Question, salt: bytes = b"", key: bytes = b"image") -> Prompt:
    images = tuple(replace(image, key=key + bytes([i])) for i, image in enumerate(question.prompt.images))
    return replace(question.prompt, images=images, salt=salt)


class Pulled:
    """Streams that record whether they were read."""

    def __init__(self, rows: tuple[torch.Tensor, ...]) -> None:
        self.asked = [False] * len(rows)
        self.streams = [self._stream(i, row) for i, row in enumerate(rows)]

    async def _stream(self, number: int, rows: torch.Tensor) -> AsyncIterator[RowChunk]:
        self.asked[number] = True
        async for chunk in stream(rows):
            yield chunk


async def ask(
    engine: NativeEngine, q: Question, prompt: Prompt, name: str = "a"
) -> tuple[list[Delta], list[bool]]:
    pulled = Pulled(q.rows)
    layout = layout_of(q.rows[0]) if q.rows else None
    deltas = await collect(engine.submit(EngineRequest(name, prompt, GREEDY), pulled.streams, layout))
    return deltas, pulled.asked


def most(prompt: Prompt) -> int:
    """All full blocks, but never the last token."""
    return (len(prompt.token_ids) - 1) // BLOCK * BLOCK


@pytest.mark.parametrize("images", [0, 1, 2, 3])
async def test_a_repeated_prompt_is_computed_once_and_no_row_travels(
    small: NativeEngine, questions: dict[str, list[Question]], images: int
) -> None:
    q = questions["moe"][images]
    prompt = keyed(q)
    assert await small.probe(prompt) == 0
    first, asked = await ask(small, q, prompt)
    assert_equal_but_for_ties(tokens(first), q)
    assert all(asked)
    assert first[-1].usage.cached_prompt_tokens == 0
    assert await small.probe(prompt) == most(prompt)
    again, asked = await ask(small, q, prompt)
    assert_equal_but_for_ties(tokens(again), q)
    assert asked == [image.end > most(prompt) for image in prompt.images]
    assert again[-1].usage.cached_prompt_tokens == most(prompt)


async def test_prefix_blocks_differ_by_image_key_salt_range_and_position(
    small: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = questions["moe"][1]
    prompt, (image,) = keyed(q), q.prompt.images
    await ask(small, q, prompt)
    before = image.start // BLOCK * BLOCK
    assert before > 0
    kept = np.arange(image.rows, dtype=np.int32)
    for other in (
        keyed(q, key=b"other"),
        replace(prompt, images=(replace(prompt.images[0], kept=kept + 1),)),
        replace(prompt, images=(replace(prompt.images[0], key=b""),)),
    ):
        assert await small.probe(other) == before, "text before the image is shared, the image is not"
    assert await small.probe(replace(prompt, positions=prompt.positions + 1)) == 0
    assert await small.probe(keyed(q, salt=b"another tenant")) == 0
    assert await small.probe(replace(prompt, images=(replace(prompt.images[0], kept=kept),))) == most(prompt)


async def test_a_longer_conversation_reuses_the_prefix_of_its_answer(
    small: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = questions["moe"][0]
    said = tokens((await ask(small, q, q.prompt))[0])
    ids = np.concatenate([q.prompt.token_ids, np.array([*said, 5, 6, 7], np.int32)])
    start = q.prompt.next_position
    tail = np.broadcast_to(np.arange(start, start + len(said) + 3, dtype=np.int32), (3, len(said) + 3))
    longer = Prompt(ids, np.concatenate([q.prompt.positions, tail], axis=1), start + len(said) + 3)
    assert await small.probe(longer) == (len(ids) - 4) // BLOCK * BLOCK


async def test_equal_requests_at_once_share_the_work(
    small: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = questions["moe"][2]
    prompt = keyed(q)
    answers = await asyncio.gather(*(ask(small, q, prompt, str(i)) for i in range(5)))
    for deltas, _ in answers:
        assert_equal_but_for_ties(tokens(deltas), q)
    computed = sum(len(prompt.token_ids) - deltas[-1].usage.cached_prompt_tokens for deltas, _ in answers)
    # Whose rows come while another waits for its own computes what it can: so not always once in all.
    assert computed < 5 * len(prompt.token_ids) / 2
    await until(lambda: is_empty(small))


async def test_rows_of_a_failed_stream_are_not_shared(
    small: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    q = questions["moe"][1]
    prompt = keyed(q)

    async def fails() -> AsyncIterator[RowChunk]:
        async for chunk in stream(q.rows[0][:-1], 1):
            yield chunk
            await asyncio.sleep(0.01)
        raise RuntimeError("the check of the last chunk does not fit")

    request = EngineRequest("fails", prompt, GREEDY)
    with pytest.raises(RuntimeError, match="last chunk"):
        await collect(small.submit(request, [fails()], layout_of(q.rows[0])))
    assert await small.probe(prompt) <= prompt.images[0].start


async def test_evicted_prefixes_are_fetched_again(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    """The cache holds a single request, so each request evicts the others while it waits with a stale hint."""
    limits = EngineLimits(max_context=160, max_new_tokens=16)
    tight = settings(checkpoints["moe"], block_size=BLOCK, kv_tokens=160, limits=limits, max_running=2)
    engine = NativeEngine(tight)
    await engine.start()
    mixed = [questions["moe"][i] for i in (3, 1, 2, 7, 5, 6)] * 2
    answers = await asyncio.gather(
        *(ask(engine, q, keyed(q, key=bytes([i % 6])), str(i)) for i, q in enumerate(mixed))
    )
    for (deltas, _), q in zip(answers, mixed, strict=True):
        assert_equal_but_for_ties(tokens(deltas), q)
    await until(lambda: is_empty(engine))
    kept = [await engine.probe(keyed(q, key=bytes([i % 6]))) for i, q in enumerate(mixed)]
    assert min(kept) == 0, "nothing was evicted: the test shows nothing"
    await engine.close()


async def test_no_prefix_is_reused_if_the_cache_is_off(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    engine = NativeEngine(settings(checkpoints["moe"], block_size=BLOCK, prefix_cache=False))
    await engine.start()
    q = questions["moe"][1]
    for _ in range(2):
        deltas, asked = await ask(engine, q, keyed(q))
        assert asked == [True]
        assert deltas[-1].usage.cached_prompt_tokens == 0
    await engine.close()


async def test_another_question_about_an_image_needs_none_of_its_rows(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    """The image ends inside a block. The block is copied up to that position, and both questions continue separately."""
    on, off = (
        NativeEngine(settings(checkpoints["moe"], block_size=13, prefix_cache=p)) for p in (True, False)
    )
    await asyncio.gather(on.start(), off.start())
    for number in (1, 2, 3, 5):
        q = questions["moe"][number]
        end = q.prompt.images[-1].end
        assert end % 13, "the image ends with a block"
        prompt = keyed(q, key=bytes([number]))
        ids = prompt.token_ids.copy()
        ids[end:] = (ids[end:] + 7) % 300
        other = replace(prompt, token_ids=ids)
        await ask(on, q, prompt)
        assert await on.probe(other) == end
        for asked_for in (other, prompt, other):
            deltas, asked = await ask(on, q, asked_for)
            assert not any(asked)
            assert deltas[-1].usage.cached_prompt_tokens >= end
            expected, _ = await ask(off, q, asked_for)
            assert tokens(deltas) == tokens(expected)
    assert is_empty(on)
    await asyncio.gather(on.close(), off.close())
