"""From the shape of vLLM's outputs to deltas. Runs without vLLM."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from decoder_svc.engine.protocol import EngineRequest, Prompt, Sampling
from decoder_svc.sampling.detokenizer import Vocabulary
from decoder_svc.vllm_engine.answer import AnswerStream
from fovea.contract.answer import TokenLogprob
from fovea.contract.errors import AnswerNotFinite, EngineUnavailable
from fovea.contract.rows import RowDtype

EOS = 70


@pytest.fixture(scope="module")
def vocabulary(checkpoints: dict[str, Path]) -> Vocabulary:
    return Vocabulary(checkpoints["moe"])


def stream(vocabulary: Vocabulary, **changes: Any) -> AnswerStream:
    prompt = Prompt(np.zeros(5, np.int32), np.zeros((3, 5), np.int32), 5)
    request = EngineRequest("answer", prompt, Sampling(**changes))
    answer = AnswerStream(request, vocabulary, frozenset([EOS]), RowDtype.FP32)
    answer.mark_rows()
    return answer


def output(*tokens: int, reason: str | None = None, logprob: float = -0.5) -> SimpleNamespace:
    made = SimpleNamespace(
        token_ids=tokens,
        finish_reason=reason,
        logprobs=[{token: SimpleNamespace(logprob=logprob)} for token in tokens],
    )
    stats = SimpleNamespace(queued_ts=1.0, scheduled_ts=100.0)
    return SimpleNamespace(outputs=[made], metrics=stats, num_cached_tokens=3)


def test_an_output_of_several_tokens_gives_a_delta_each(vocabulary: Vocabulary) -> None:
    answer = stream(vocabulary, logprobs=True)
    deltas = [*answer.deltas(output(65, 66)), *answer.deltas(output(67, reason="length"))]
    assert [delta.token_ids for delta in deltas] == [(65,), (66,), (67,)]
    assert "".join(delta.text for delta in deltas) == "".join(
        vocabulary.token_bytes[token].decode() for token in (65, 66, 67)
    )
    assert [delta.logprobs for delta in deltas] == [(-0.5,)] * 3
    assert [delta.finish_reason for delta in deltas] == [None, None, "length"]
    assert (deltas[-1].usage.cached_prompt_tokens, deltas[-1].usage.output_tokens) == (3, 3)


def test_the_likeliest_tokens_are_reported_in_order(vocabulary: Vocabulary) -> None:
    """vLLM lists the chosen token beside them, which may not be one of them."""
    made = output(66)
    values = {66: -3.0, 68: -1.0, 67: -1.0, 65: -0.5}
    made.outputs[0].logprobs = [{token: SimpleNamespace(logprob=value) for token, value in values.items()}]
    (delta,) = stream(vocabulary, logprobs=True, top_logprobs=3).deltas(made)
    assert (delta.logprobs, delta.token_bytes) == ((-3.0,), (vocabulary.token_bytes[66],))
    expected = tuple(TokenLogprob(t, values[t], vocabulary.token_bytes[t]) for t in (65, 67, 68))
    assert delta.top_logprobs == (expected,)
    (plain,) = stream(vocabulary).deltas(made)
    assert (plain.logprobs, plain.token_bytes, plain.top_logprobs) == ((), (), ())


def test_stage_times_add_up_though_vllm_claims_a_longer_queue(vocabulary: Vocabulary) -> None:
    (delta,) = stream(vocabulary).deltas(output(65))
    times = delta.timings
    assert times.queue_ms + times.rows_ms + times.prefill_ms == pytest.approx(times.ttft_ms)
    assert min(times.queue_ms, times.rows_ms) >= 0
    assert times.prefill_ms == pytest.approx(0, abs=1e-6)


def test_an_end_token_ends_the_answer_unless_ignored(vocabulary: Vocabulary) -> None:
    assert [d.finish_reason for d in stream(vocabulary).deltas(output(65, EOS, 66))] == [None, "stop"]
    goes_on = stream(vocabulary, ignore_eos=True).deltas(output(65, EOS, 66))
    assert [delta.finish_reason for delta in goes_on] == [None, None, None]


def test_an_answer_that_no_token_ends(vocabulary: Vocabulary) -> None:
    (delta,) = stream(vocabulary).deltas(output(reason="abort"))
    assert (delta.token_ids, delta.finish_reason) == ((), "abort")


def test_values_that_are_not_finite_fail_the_answer(vocabulary: Vocabulary) -> None:
    answer = stream(vocabulary)
    assert len([*answer.deltas(output(65))]) == 1
    with pytest.raises(AnswerNotFinite):
        next(answer.deltas(output(66, logprob=math.nan)))


def test_an_unknown_reason_is_a_failure(vocabulary: Vocabulary) -> None:
    with pytest.raises(EngineUnavailable, match="error"):
        next(stream(vocabulary).deltas(output(65, reason="error")))
