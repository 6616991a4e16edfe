"""Answers of the vLLM engine: text, stop strings, log-probabilities, formats, usage, times."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from decoder_svc.engine.protocol import ImageSpan, Prompt, ResponseFormat, Sampling
from decoder_svc.vllm_engine.engine import VllmEngine
from fovea.contract.errors import InvalidArgument
from tests.decoder.native_engine.harness import Question, Reference, answer, text, tokens

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]
GREEDY = Sampling(max_new_tokens=12)


def with_images(questions: dict[str, list[Question]], images: int) -> Question:
    return next(q for q in questions["moe"] if len(q.rows) == images)


async def test_timings_add_up_and_usage_is_correct(
    engine: VllmEngine, questions: dict[str, list[Question]]
) -> None:
    q = with_images(questions, 2)
    last = (await answer(engine, q, GREEDY))[-1]
    times = last.timings
    assert times.queue_ms + times.rows_ms + times.prefill_ms == pytest.approx(times.ttft_ms)
    assert min(times.queue_ms, times.rows_ms) >= 0
    assert times.prefill_ms > 0
    assert times.decode_ms > 0
    assert (last.usage.prompt_tokens, last.usage.output_tokens) == (len(q.prompt.token_ids), len(q.answer))


async def test_a_stop_string_ends_the_answer_and_is_withheld(
    engine: VllmEngine, questions: dict[str, list[Question]]
) -> None:
    q = with_images(questions, 1)
    whole = text(await answer(engine, q, replace(GREEDY, ignore_eos=True)))
    stop = whole[4:6]
    deltas = await answer(engine, q, replace(GREEDY, ignore_eos=True, stop=(stop,)))
    assert text(deltas) == whole[: whole.find(stop)]
    assert (deltas[-1].finish_reason, deltas[-1].matched_stop) == ("stop", stop)


async def test_ignore_eos_goes_on_to_the_limit(
    engine: VllmEngine, questions: dict[str, list[Question]]
) -> None:
    deltas = await answer(engine, with_images(questions, 1), Sampling(max_new_tokens=40, ignore_eos=True))
    assert len(tokens(deltas)) == 40
    assert deltas[-1].finish_reason == "length"


@torch.inference_mode()
def expected_logprob(reference: Reference, question: Question) -> float:
    """The log-probability of the first token of a greedy answer without images."""
    logits = reference.model(input_ids=torch.from_numpy(question.prompt.token_ids).long()[None]).logits
    return float(logits[0, -1].log_softmax(-1).max())


async def test_log_probabilities_are_those_of_the_model(
    engine: VllmEngine, references: dict[str, Reference], questions: dict[str, list[Question]]
) -> None:
    q = with_images(questions, 0)
    deltas = await answer(engine, q, replace(GREEDY, logprobs=True))
    assert [len(d.logprobs) for d in deltas] == [len(d.token_ids) for d in deltas]
    first = next(
        d.logprobs[0] for d in deltas if d.logprobs
    )  # the first delta says only that it was admitted
    assert first == pytest.approx(expected_logprob(references["moe"], q), abs=1e-4)
    assert not any(d.logprobs for d in await answer(engine, q, GREEDY))


@pytest.mark.parametrize(
    ("format", "fits"),
    [
        (ResponseFormat("choice", ("yes", "no", "perhaps")), lambda said: said in ("yes", "no", "perhaps")),
        (ResponseFormat("regex", ("[0-9]{3}-[a-f]{2}",)), lambda said: len(said) == 6 and said[3] == "-"),
        (
            ResponseFormat(
                "json_schema", ('{"type": "array", "items": {"type": "boolean"}, "maxItems": 1}',)
            ),
            lambda said: json.loads(said) in ([], [True], [False]),
        ),
    ],
    ids=["choice", "regex", "json_schema"],
)
async def test_the_answer_matches_its_response_format(
    engine: VllmEngine, questions: dict[str, list[Question]], format: ResponseFormat, fits: object
) -> None:
    sampling = Sampling(max_new_tokens=60, response_format=format)
    said = text(await answer(engine, with_images(questions, 1), sampling))
    assert fits(said), said  # type: ignore[operator]


async def test_a_format_that_cannot_be_compiled_is_refused_before_vllm(
    engine: VllmEngine, questions: dict[str, list[Question]]
) -> None:
    broken = replace(GREEDY, response_format=ResponseFormat("regex", ("[0-9",)))
    with pytest.raises(InvalidArgument, match="cannot be enforced"):
        await answer(engine, with_images(questions, 0), broken)


async def test_a_prefix_is_reused_by_our_key_and_not_without_one(
    engine: VllmEngine, questions: dict[str, list[Question]]
) -> None:
    """The image follows 300 tokens of text, in the third block of 128. Only whole blocks are reused."""

    def ask(key: bytes, rows: torch.Tensor) -> Question:
        ids = np.concatenate([np.full(300, 65, np.int32), q.prompt.token_ids, np.full(300, 66, np.int32)])
        moved = q.prompt.positions + 300
        after = q.prompt.next_position + 300 + np.arange(300, dtype=np.int32)
        positions = np.concatenate(
            [
                np.broadcast_to(np.arange(300, dtype=np.int32), (3, 300)),
                moved,
                np.broadcast_to(after, (3, 300)),
            ],
            axis=1,
        )
        span = q.prompt.images[0]
        image = ImageSpan(span.start + 300, span.grid_thw, span.rows, key=key)
        prompt = Prompt(ids, positions.astype(np.int32), int(after[-1]) + 1, (image,))
        return Question(prompt, (rows,), (), ())

    q = with_images(questions, 1)
    rows, other = q.rows[0], q.rows[0].flip(0)
    first = await answer(engine, ask(b"one", rows), GREEDY)
    again = await answer(engine, ask(b"one", rows), GREEDY)
    different = await answer(engine, ask(b"two", other), GREEDY)
    unnamed = [await answer(engine, ask(b"", rows), GREEDY) for _ in range(2)]
    assert again[-1].usage.cached_prompt_tokens >= 512
    assert tokens(again) == tokens(first) == tokens(unnamed[0]) == tokens(unnamed[1])
    assert tokens(different) != tokens(first)
    for deltas in (different, *unnamed):
        assert deltas[-1].usage.cached_prompt_tokens == 256  # the text before the image
