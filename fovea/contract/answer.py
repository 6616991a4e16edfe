"""The answer and its stream: the events of Generate, and the Answer that a client assembles from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import chain
from typing import Any

from fovea.contract.codec import EnumCodec
from fovea.contract.receipt import Receipt, receipt_from_proto, receipt_to_proto
from fovea.decoder.v1 import decoder_pb2


class FinishReason(StrEnum):
    """Why an answer ended. With STOP it is complete; with LENGTH it was cut at `max_new_tokens`."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


_FINISH_REASON = EnumCodec(decoder_pb2.FinishReason, FinishReason)


@dataclass(frozen=True)
class Started:
    """The request was accepted: its images are stored and its prompt fits."""

    request_id: str
    model: str
    prompt_tokens: int
    visual_tokens: int


@dataclass(frozen=True)
class TokenLogprob:
    """A token, its natural log-probability, and its bytes, which are empty for special tokens."""

    token_id: int
    logprob: float
    token: bytes


TopLogprobs = tuple[TokenLogprob, ...]
"""The most likely tokens at a position, the most likely first."""


@dataclass(frozen=True)
class Text:
    """A delta of the answer. The last three fields are parallel to `token_ids`, if requested.

    `logprobs` holds each token's natural log-probability, `token_bytes` its bytes, `top_logprobs` the most
    likely tokens at its position.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    token_bytes: tuple[bytes, ...] = ()
    top_logprobs: tuple[TopLogprobs, ...] = ()


def joined(texts: Sequence[Text]) -> Text:
    """All these deltas as a single delta."""
    parallel = {
        field.name: tuple(chain.from_iterable(getattr(text, field.name) for text in texts))
        for field in fields(Text)
        if field.name != "text"
    }
    return Text("".join(text.text for text in texts), **parallel)


@dataclass(frozen=True)
class Finished:
    """The answer has ended. `matched_stop` is the stop string that ended it, if any.

    `finish_reason` is None if a newer server sends a reason that this version does not know.
    """

    finish_reason: FinishReason | None
    matched_stop: str
    receipt: Receipt


Event = Started | Text | Finished


@dataclass(frozen=True)
class Answer:
    """A complete answer.

    If `finish_reason` is LENGTH, the answer was cut and may not match its response format. `matched_stop` is
    the stop string that ended the answer, if any; a stop string can cut structured output too. `logprobs`,
    `token_bytes` and `top_logprobs` are those of `Text`, if requested.
    """

    text: str
    finish_reason: FinishReason | None
    model: str
    request_id: str
    receipt: Receipt
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    matched_stop: str = ""
    token_bytes: tuple[bytes, ...] = ()
    top_logprobs: tuple[TopLogprobs, ...] = ()


def event_to_proto(event: Event) -> decoder_pb2.GenerateResponse:
    if isinstance(event, Started):
        return decoder_pb2.GenerateResponse(started=decoder_pb2.Started(**vars(event)))
    if isinstance(event, Text):
        return decoder_pb2.GenerateResponse(delta=decoder_pb2.Delta(**text_fields(event)))
    return decoder_pb2.GenerateResponse(finished=finished_to_proto(event))


def text_fields(event: Text) -> dict[str, Any]:
    """The fields that Delta and CompleteResponse share."""
    return {**vars(event), "top_logprobs": [_top_to_proto(top) for top in event.top_logprobs]}


def _top_to_proto(top: TopLogprobs) -> decoder_pb2.TopLogprobs:
    return decoder_pb2.TopLogprobs(tokens=[decoder_pb2.TokenLogprob(**vars(token)) for token in top])


def _top_from_proto(message: decoder_pb2.TopLogprobs) -> TopLogprobs:
    return tuple(TokenLogprob(each.token_id, each.logprob, each.token) for each in message.tokens)


def finished_to_proto(event: Finished) -> decoder_pb2.Finished:
    return decoder_pb2.Finished(
        finish_reason=_FINISH_REASON.to_proto(event.finish_reason),
        matched_stop=event.matched_stop,
        receipt=receipt_to_proto(event.receipt),
    )


def event_from_proto(message: decoder_pb2.GenerateResponse) -> Event | None:
    """None for an event that only a newer server knows."""
    kind = message.WhichOneof("event")
    if kind == "started":
        started = message.started
        return Started(started.request_id, started.model, started.prompt_tokens, started.visual_tokens)
    if kind == "delta":
        delta = message.delta
        return Text(
            delta.text,
            tuple(delta.token_ids),
            tuple(delta.logprobs),
            tuple(delta.token_bytes),
            tuple(map(_top_from_proto, delta.top_logprobs)),
        )
    if kind == "finished":
        end = message.finished
        reason = _FINISH_REASON.from_proto(end.finish_reason)
        return Finished(reason, end.matched_stop, receipt_from_proto(end.receipt))
    return None
