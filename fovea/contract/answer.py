"""The answer and its stream: the events of Generate, and the Answer that a client assembles from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import chain
from typing import Any

from fovea.contract.codec import EnumCodec
from fovea.contract.receipt import Receipt, receipt_from_proto, receipt_to_proto
from fovea.contract.tools import (
    ToolCall,
    ToolCallDelta,
    calls_to_proto,
    deltas_from_proto,
    deltas_to_proto,
    merge_calls,
    whole_calls,
)
from fovea.decoder.v1 import decoder_pb2


class FinishReason(StrEnum):
    """Why an answer ended. With STOP it is complete; with TOOL_CALLS it is complete and calls tools; with
    LENGTH it was cut at `max_new_tokens`.
    """

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
    """A delta of the answer. `token_ids` are those of its reasoning and its tool calls too.

    Three fields are parallel to `token_ids`, if requested: `logprobs` holds each token's natural
    log-probability, `token_bytes` its bytes, `top_logprobs` the most likely tokens at its position.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    token_bytes: tuple[bytes, ...] = ()
    top_logprobs: tuple[TopLogprobs, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()


_APPENDED = ("text", "reasoning")


def joined(texts: Sequence[Text]) -> Text:
    """All these deltas as a single delta."""
    parallel: dict[str, Any] = {
        field.name: tuple(chain.from_iterable(getattr(text, field.name) for text in texts))
        for field in fields(Text)
        if field.name not in _APPENDED
    }
    appended: dict[str, Any] = {name: "".join(getattr(text, name) for text in texts) for name in _APPENDED}
    calls = merge_calls(parallel.pop("tool_calls"))
    return Text(**appended, **parallel, tool_calls=calls)


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
    `token_bytes` and `top_logprobs` are those of `Text`, if requested. `reasoning` came before the text.
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
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


def event_to_proto(event: Event) -> decoder_pb2.GenerateResponse:
    if isinstance(event, Started):
        return decoder_pb2.GenerateResponse(started=decoder_pb2.Started(**vars(event)))
    if isinstance(event, Text):
        calls = deltas_to_proto(event.tool_calls)
        delta = decoder_pb2.Delta(**_text_fields(event), tool_calls=calls)
        return decoder_pb2.GenerateResponse(delta=delta)
    return decoder_pb2.GenerateResponse(finished=finished_to_proto(event))


def whole_to_proto(texts: Sequence[Text]) -> decoder_pb2.CompleteResponse:
    """All deltas of an answer, as they stand in a response."""
    text = joined(texts)
    calls = calls_to_proto(whole_calls(text.tool_calls))
    return decoder_pb2.CompleteResponse(**_text_fields(text), tool_calls=calls)


def _text_fields(event: Text) -> dict[str, Any]:
    """The fields that Delta and CompleteResponse share."""
    shared = {name: value for name, value in vars(event).items() if name != "tool_calls"}
    return {**shared, "top_logprobs": [_top_to_proto(top) for top in event.top_logprobs]}


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
            delta.reasoning,
            deltas_from_proto(delta.tool_calls),
        )
    if kind == "finished":
        end = message.finished
        reason = _FINISH_REASON.from_proto(end.finish_reason)
        return Finished(reason, end.matched_stop, receipt_from_proto(end.receipt))
    return None
