"""From vLLM's outputs to deltas. Knows the shape of vLLM's RequestOutput, not vLLM."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from decoder_svc.engine.clock import RequestClock
from decoder_svc.engine.protocol import Delta, EngineProgress, EngineRequest, FinishReason, Usage
from decoder_svc.sampling.deltas import DeltaBuilder, TokenReport
from decoder_svc.sampling.detokenizer import Vocabulary
from fovea.contract.errors import AnswerNotFinite, EngineUnavailable
from fovea.contract.rows import RowDtype

REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "abort": "abort"}


class AnswerStream:
    """An answer as it grows. Raises AnswerNotFinite if vLLM sampled from values that are not finite."""

    def __init__(
        self, request: EngineRequest, vocabulary: Vocabulary, eos_ids: frozenset[int], dtype: RowDtype
    ) -> None:
        self._clock = RequestClock(submitted=time.perf_counter())
        self._clock.mark_blocked(True, self._clock.submitted)
        self._builder = DeltaBuilder(request.sampling, vocabulary, eos_ids, self._clock)
        self._dtype = dtype
        self._sampling = request.sampling
        self._prompt_tokens = len(request.prompt.token_ids)
        self._cached = 0
        self._output_tokens = 0

    def mark_rows(self) -> None:
        """All rows are here."""
        self._clock.mark_blocked(False, time.perf_counter())

    def deltas(self, output: Any) -> Iterator[Delta]:
        """A delta per token of an output, up to the delta that ends the answer."""
        self._mark_token(output.metrics)
        self._cached = output.num_cached_tokens or 0
        completion = output.outputs[0]
        last = len(completion.token_ids) - 1
        for index, token in enumerate(completion.token_ids):
            likely = {each: entry.logprob for each, entry in completion.logprobs[index].items()}
            delta = self._advance(token, likely, completion.finish_reason if index == last else None)
            yield delta
            if delta.finish_reason is not None:
                return
        if completion.finish_reason is not None:  # no token ended the answer
            yield self.end(_reason(completion.finish_reason))

    def end(self, reason: FinishReason) -> Delta:
        """The end of an answer that no token ends."""
        return self._builder.end(self._usage(), reason)

    def note_progress(self, progress: EngineProgress) -> None:
        """vLLM tells nothing of a prompt before its first token."""
        if self._output_tokens:
            progress.prompt_tokens = self._prompt_tokens
            progress.cached_prompt_tokens = self._cached
            progress.output_tokens = self._output_tokens

    def _mark_token(self, stats: Any) -> None:
        """vLLM measures only how long it queued the request."""
        clock, now = self._clock, time.perf_counter()
        if clock.admitted is None:
            rows_ready = clock.submitted + clock.blocked_before_slot
            queued_s = stats.scheduled_ts - stats.queued_ts if stats else 0.0
            clock.admitted = rows_ready + min(max(0.0, queued_s), now - rows_ready)
        clock.mark_token(now)

    def _advance(self, token: int, likely: Mapping[int, float], finished: str | None) -> Delta:
        """`likely` has the log-probabilities of the token and of the most likely tokens, by id."""
        if not math.isfinite(likely[token]):
            raise AnswerNotFinite(self._dtype.value, self._output_tokens)
        self._output_tokens += 1
        ended = None if finished is None else _reason(finished)
        return self._builder.add(token, self._usage(), self._reported(token, likely), ended)

    def _reported(self, token: int, likely: Mapping[int, float]) -> TokenReport | None:
        if not self._sampling.logprobs:
            return None
        # vLLM masks what a format excludes before it reports: minus infinity is no alternative.
        possible = [entry for entry in likely.items() if entry[1] > -math.inf]
        top = sorted(possible, key=lambda entry: (-entry[1], entry[0]))
        return TokenReport(likely[token], tuple(top[: self._sampling.top_logprobs]))

    def _usage(self) -> Usage:
        return Usage(self._prompt_tokens, self._cached, self._output_tokens)


def _reason(finished: str) -> FinishReason:
    if finished not in REASONS:
        raise EngineUnavailable(f"vLLM ended the answer for the reason {finished!r}", why=finished)
    return REASONS[finished]
