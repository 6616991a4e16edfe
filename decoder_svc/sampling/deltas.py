"""From the tokens of an answer to its deltas. Both engines cut text and end answers here."""

from __future__ import annotations

from typing import Any, NamedTuple

from decoder_svc.engine.clock import RequestClock
from decoder_svc.engine.protocol import Delta, FinishReason, Sampling, Usage
from decoder_svc.sampling.detokenizer import TextStream, Vocabulary
from fovea.contract.answer import TokenLogprob


class TokenReport(NamedTuple):
    """The log-probability of a token, and the most likely tokens at its position with theirs."""

    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class DeltaBuilder:
    """Builds the deltas of an answer. End tokens and stop strings of the request end it."""

    def __init__(
        self, sampling: Sampling, vocabulary: Vocabulary, eos_ids: frozenset[int], clock: RequestClock
    ) -> None:
        self._text = TextStream(vocabulary, sampling.stop)
        self._bytes = vocabulary.token_bytes
        self._top = sampling.top_logprobs > 0
        self._eos_ids = frozenset() if sampling.ignore_eos else eos_ids
        self._clock = clock

    def add(
        self, token: int, usage: Usage, report: TokenReport | None = None, ended: FinishReason | None = None
    ) -> Delta:
        """The delta of the next token. `ended` ends the answer unless this token does."""
        piece = self._text.push(token)
        is_end = piece.stop is not None or token in self._eos_ids
        reason: FinishReason | None = "stop" if is_end else ended
        rest = self._text.finish() if reason is not None and piece.stop is None else ""
        text, timings = piece.text + rest, self._clock.timings()
        return Delta((token,), text, usage, timings, reason, piece.stop, **self._reported(token, report))

    def _reported(self, token: int, report: TokenReport | None) -> dict[str, Any]:
        """The fields of a delta that are for log-probabilities."""
        if report is None:
            return {}
        top = tuple(TokenLogprob(each, value, self._bytes.get(each, b"")) for each, value in report.top)
        return {
            "logprobs": (report.logprob,),
            "token_bytes": (self._bytes.get(token, b""),),
            "top_logprobs": (top,) if self._top else (),
        }

    def end(self, usage: Usage, reason: FinishReason) -> Delta:
        """The end of an answer that no token ends."""
        return Delta((), self._text.finish(), usage, self._clock.timings(), reason)
