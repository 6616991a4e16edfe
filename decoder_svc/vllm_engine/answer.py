"""From what vLLM puts out to deltas: text cut as the native engine cuts it, usage, stage times.

Knows the shape of vLLM's RequestOutput and not vLLM.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from decoder_svc.engine.protocol import Delta, EngineRequest, EngineTimings, FinishReason, Usage
from decoder_svc.sampling.detokenizer import Piece, TextStream
from fovea.contract.errors import AnswerNotFinite, EngineUnavailable
from fovea.contract.rows import RowDtype

REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "abort": "abort"}


@dataclass
class Times:
    """The moments of a request, in seconds. vLLM's own clock tells only how long it queued."""

    submitted: float = field(default_factory=time.perf_counter)
    rows_ready: float = 0.0
    queued_s: float = 0.0
    first_token: float | None = None
    last_token: float = 0.0

    def mark_rows(self) -> None:
        self.rows_ready = time.perf_counter()

    def mark_token(self, queued_s: float) -> None:
        self.last_token = time.perf_counter()
        if self.first_token is None:
            self.first_token = self.last_token
            self.queued_s = min(max(0.0, queued_s), self.last_token - self.rows_ready)

    def timings(self) -> EngineTimings:
        if self.first_token is None:
            return EngineTimings()
        return EngineTimings(
            queue_ms=1e3 * self.queued_s,
            rows_ms=1e3 * (self.rows_ready - self.submitted),
            prefill_ms=1e3 * (self.first_token - self.rows_ready - self.queued_s),
            ttft_ms=1e3 * (self.first_token - self.submitted),
            decode_ms=1e3 * (self.last_token - self.first_token),
        )


class AnswerStream:
    """One answer as it grows. Raises AnswerNotFinite where vLLM drew a token from values that are not."""

    def __init__(
        self, request: EngineRequest, text: TextStream, eos_ids: frozenset[int], dtype: RowDtype
    ) -> None:
        self.times = Times()
        self._dtype = dtype
        self._sampling = request.sampling
        self._prompt_tokens = len(request.prompt.token_ids)
        self._text = text
        self._eos_ids = eos_ids
        self._cached = 0
        self._made = 0

    def deltas(self, output: Any) -> Iterator[Delta]:
        """One delta a token (vLLM may give several at once), none after the one that ends the answer."""
        stats = output.metrics
        self.times.mark_token(stats.scheduled_ts - stats.queued_ts if stats else 0.0)
        self._cached = output.num_cached_tokens or 0
        made = output.outputs[0]
        last = len(made.token_ids) - 1
        for place, token in enumerate(made.token_ids):
            delta = self._advance(token, made.finish_reason if place == last else None, made.logprobs, place)
            yield delta
            if delta.finish_reason is not None:
                return
        if made.finish_reason is not None:  # ended by another than a token
            yield self.ended(self._reason(made.finish_reason))

    def begun(self) -> Delta:
        """What is told of a request once it is admitted."""
        return Delta((), "", self._usage(), self.times.timings())

    def ended(self, reason: FinishReason) -> Delta:
        """The end of an answer that no token ends."""
        return Delta((), self._text.finish().text, self._usage(), self.times.timings(), reason)

    def _advance(self, token: int, finished: str | None, logprobs: Any, place: int) -> Delta:
        logprob = logprobs[place][token].logprob
        if not math.isfinite(logprob):
            raise AnswerNotFinite(self._dtype.value, self._made)
        self._made += 1
        piece = self._text.push(token)
        reason = self._finish_reason(token, piece, finished)
        if reason is not None and piece.stop is None:
            piece = Piece(piece.text + self._text.finish().text)
        return Delta(
            token_ids=(token,),
            text=piece.text,
            usage=self._usage(),
            timings=self.times.timings(),
            finish_reason=reason,
            matched_stop=piece.stop,
            logprobs=(logprob,) if self._sampling.logprobs else (),
        )

    def _finish_reason(self, token: int, piece: Piece, finished: str | None) -> FinishReason | None:
        ends = token in self._eos_ids and not self._sampling.ignore_eos
        if piece.stop is not None or ends:
            return "stop"
        return self._reason(finished) if finished is not None else None

    def _reason(self, finished: str) -> FinishReason:
        if finished not in REASONS:
            raise EngineUnavailable(f"vLLM ended the answer for the reason {finished!r}", why=finished)
        return REASONS[finished]

    def _usage(self) -> Usage:
        return Usage(self._prompt_tokens, self._cached, self._made)
