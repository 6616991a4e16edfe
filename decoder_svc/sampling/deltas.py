"""From the tokens of an answer to its deltas. Both engines cut text and end answers here."""

from __future__ import annotations

from decoder_svc.engine.clock import RequestClock
from decoder_svc.engine.protocol import Delta, FinishReason, Sampling, Usage
from decoder_svc.sampling.detokenizer import TextStream, Vocabulary


class DeltaBuilder:
    """Builds the deltas of an answer. End tokens and stop strings of the request end it."""

    def __init__(
        self, sampling: Sampling, vocabulary: Vocabulary, eos_ids: frozenset[int], clock: RequestClock
    ) -> None:
        self._text = TextStream(vocabulary, sampling.stop)
        self._eos_ids = frozenset() if sampling.ignore_eos else eos_ids
        self._clock = clock

    def add(
        self, token: int, usage: Usage, logprobs: tuple[float, ...] = (), ended: FinishReason | None = None
    ) -> Delta:
        """The delta of the next token. `ended` ends the answer unless this token does."""
        piece = self._text.push(token)
        is_end = piece.stop is not None or token in self._eos_ids
        reason: FinishReason | None = "stop" if is_end else ended
        rest = self._text.finish() if reason is not None and piece.stop is None else ""
        return Delta((token,), piece.text + rest, usage, self._clock.timings(), reason, piece.stop, logprobs)

    def end(self, usage: Usage, reason: FinishReason) -> Delta:
        """The end of an answer that no token ends."""
        return Delta((), self._text.finish(), usage, self._clock.timings(), reason)
