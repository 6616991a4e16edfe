"""Greedy tokens equal those of the monolithic model, however requests are chunked, batched and preempted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from decoder_svc.engine.protocol import EngineLimits, ImageSpan, Prompt, Sampling
from decoder_svc.native_engine.engine import NativeEngine
from tests.decoder.native_engine.harness import (
    Question,
    Reference,
    answer,
    assert_equal_but_for_ties,
    is_empty,
    settings,
    tokens,
)

GREEDY = Sampling(max_new_tokens=12)


async def ties(folder: Path, asked: list[Question], together: bool, **changes: Any) -> int:
    """Ask all questions, in sequence or concurrently. Returns the number of answers with a tie."""
    engine = NativeEngine(settings(folder, **changes))
    await engine.start()
    try:
        if together:
            calls = (answer(engine, q, GREEDY, f"request {i}") for i, q in enumerate(asked))
            answers = await asyncio.gather(*calls)
        else:
            answers = [await answer(engine, q, GREEDY) for q in asked]
        assert is_empty(engine)
        return sum(assert_equal_but_for_ties(tokens(a), q) for a, q in zip(answers, asked, strict=True))
    finally:
        await engine.close()


@pytest.mark.parametrize("kind", ["moe", "dense"])
@pytest.mark.parametrize("together", [False, True], ids=["alone", "together"])
@pytest.mark.parametrize("chunk", [512, 7, 1])
async def test_greedy_tokens_equal_the_reference(
    checkpoints: dict[str, Path],
    questions: dict[str, list[Question]],
    kind: str,
    together: bool,
    chunk: int,
) -> None:
    """Chunks of 7 and of 1 end inside images. With blocks of 4 every answer spans blocks."""
    count = await ties(checkpoints[kind], questions[kind], together, prefill_chunk=chunk, block_size=4)
    print(f"{kind}: {count} of {len(questions[kind])} answers excused by a tie")


async def test_preempted_requests_lose_nothing(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    """The KV cache holds the longest request and little more, so others are preempted and computed again."""
    asked = questions["moe"]
    longest = max(len(q.prompt.token_ids) for q in asked) + GREEDY.max_new_tokens
    context = -(-longest // 4) * 4
    engine = NativeEngine(
        settings(
            checkpoints["moe"],
            kv_tokens=context,
            block_size=4,
            prefill_chunk=16,
            limits=EngineLimits(max_context=context, max_new_tokens=64),
        )
    )
    await engine.start()
    try:
        several = [*asked, *asked, *asked]
        calls = (answer(engine, q, GREEDY, f"request {i}") for i, q in enumerate(several))
        for got, question in zip(await asyncio.gather(*calls), several, strict=True):
            assert_equal_but_for_ties(tokens(got), question)
        assert engine.load().preemptions > 0
        assert is_empty(engine)
    finally:
        await engine.close()


async def test_a_seeded_answer_depends_on_neither_batch_nor_preemption(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    """In fp32 logits differ by so little between batches that no draw may change."""
    asked = questions["moe"]
    context = -(-(max(len(q.prompt.token_ids) for q in asked) + 12) // 4) * 4
    limits = EngineLimits(max_context=context, max_new_tokens=64)
    sampled = Sampling(temperature=1.0, top_p=0.95, max_new_tokens=12)

    async def answers(together: bool, kv_tokens: int) -> tuple[list[tuple[int, ...]], int]:
        changes = {"kv_tokens": kv_tokens, "block_size": 4, "prefill_chunk": 16, "limits": limits}
        engine = NativeEngine(settings(checkpoints["moe"], **changes))
        await engine.start()
        try:
            calls = [answer(engine, q, replace(sampled, seed=i), f"request {i}") for i, q in enumerate(asked)]
            result = await asyncio.gather(*calls) if together else [await call for call in calls]
            return [tokens(deltas) for deltas in result], engine.load().preemptions
        finally:
            await engine.close()

    alone, _ = await answers(together=False, kv_tokens=4096)
    crowded, preemptions = await answers(together=True, kv_tokens=context)
    assert preemptions > 0
    assert crowded == alone
    assert len(set(alone)) == len(alone)


@torch.inference_mode()
def reference_with_kept_rows(reference: Reference, q: Question) -> Question:
    """The text model of the reference, called directly: without a cache, every token is computed again each round."""
    text, head = reference.model.model.language_model, reference.model.lm_head
    ids, positions = q.prompt.token_ids.tolist(), torch.from_numpy(q.prompt.positions).long()
    embeds = text.embed_tokens(torch.tensor(ids))
    mask = torch.tensor(ids) == reference.config.image_token_id
    rows = torch.cat(q.rows)
    embeds[mask] = rows[:, 0]
    result, gaps = [], []
    for step in range(GREEDY.max_new_tokens):
        hidden = text(
            inputs_embeds=embeds[None],
            position_ids=positions[:, None],
            visual_pos_masks=mask[None],
            deepstack_visual_embeds=list(rows[:, 1:].unbind(1)),
        ).last_hidden_state[0, -1]
        best = head(hidden).topk(2)
        result.append(int(best.indices[0]))
        gaps.append(float(best.values[0] - best.values[1]))
        if result[-1] in reference.model.generation_config.eos_token_id:
            break
        embeds = torch.cat([embeds, text.embed_tokens(best.indices[:1])])
        mask = torch.cat([mask, torch.tensor([False])])
        positions = torch.cat([positions, torch.full((3, 1), q.prompt.next_position + step)], 1)
    return Question(q.prompt, q.rows, tuple(result), tuple(gaps))


def drop_rows(question: Question, seed: int) -> Question:
    """Keep a random half of each image's rows, with their positions."""
    random = np.random.default_rng(seed)
    present = np.ones(len(question.prompt.token_ids), bool)
    kept = []
    for span in question.prompt.images:
        keep = np.sort(random.permutation(span.rows)[: max(1, span.rows // 2)])
        present[span.start : span.end] = False
        present[span.start + keep] = True
        kept.append(keep)
    spans = tuple(
        ImageSpan(int(present[: s.start].sum()), s.grid_thw, len(k), k.astype(np.int32))
        for s, k in zip(question.prompt.images, kept, strict=True)
    )
    p = question.prompt
    prompt = Prompt(p.token_ids[present], p.positions[:, present], p.next_position, spans)
    rows = tuple(r[torch.from_numpy(k)] for r, k in zip(question.rows, kept, strict=True))
    return Question(prompt, rows, (), ())


@pytest.mark.parametrize("kind", ["moe", "dense"])
async def test_kept_rows_stand_at_their_original_positions(
    checkpoints: dict[str, Path],
    references: dict[str, Reference],
    questions: dict[str, list[Question]],
    kind: str,
) -> None:
    asked = [drop_rows(q, seed) for seed, q in enumerate(questions[kind]) if q.rows]
    asked = [reference_with_kept_rows(references[kind], q) for q in asked]
    await ties(checkpoints[kind], asked, together=True, prefill_chunk=7)


async def test_the_tokens_depend_on_rows_levels_and_positions(
    engine: NativeEngine, questions: dict[str, list[Question]]
) -> None:
    """Guards the tests above: if the model ignored any of these, equality would prove nothing."""
    for q in (q for q in questions["moe"] if len(q.rows) == 5):
        shallow = tuple(r.clone() for r in q.rows)
        for rows in shallow:
            rows[:, 1:] = 0
        length = len(q.prompt.token_ids)
        flat = np.tile(np.arange(length, dtype=np.int32), (3, 1))
        line = Prompt(q.prompt.token_ids, flat, length, q.prompt.images)
        for wrong in (
            Question(q.prompt, tuple(r.flip(0) for r in q.rows), (), ()),
            Question(q.prompt, shallow, (), ()),
            Question(line, q.rows, (), ()),
        ):
            assert tokens(await answer(engine, wrong, GREEDY)) != q.answer


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
async def test_layers_split_over_devices_give_the_same_tokens(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]]
) -> None:
    """The second half of the layers, their pages and the head live on another device."""
    torch.backends.cuda.matmul.allow_tf32 = False
    for kind, asked in questions.items():
        await ties(checkpoints[kind], asked, together=True, devices=("cpu", "cuda:0"))
