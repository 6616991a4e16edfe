"""An answer in the shapes of chat completions: whole, and as chunks of a stream. Sends nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fovea.client import Answer, Finished, Text
from fovea.contract.answer import FinishReason, TokenLogprob
from fovea.contract.receipt import Receipt
from fovea.contract.tools import ToolCall, ToolCallDelta

LEAST_LOGPROB = -9999.0
"""What the OpenAI API reports for a token that cannot occur: JSON has no infinity."""


@dataclass(frozen=True)
class Completion:
    """What every object of an answer repeats."""

    request_id: str
    model: str
    notice: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def _object(self, kind: str, choices: list[Any], usage: Any) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.request_id}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": None,
            "choices": choices,
            "usage": usage,
        }

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The object `chat.completion`."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.reasoning:
            message["reasoning"] = answer.reasoning
        if answer.tool_calls:
            message["tool_calls"] = [_call(call) for call in answer.tool_calls]
            message["content"] = answer.text or None
        choice = {
            "index": 0,
            "message": message,
            "logprobs": _logprobs(answer),
            "finish_reason": finish_of(answer.finish_reason),
        }
        body = self._object("chat.completion", [choice], usage_of(answer.receipt))
        return body | {"fovea": self.receipt(answer.receipt)}

    def opening(self) -> dict[str, Any]:
        """The first chunk."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None}, None, None)

    def part(self, event: Text) -> dict[str, Any]:
        """The chunk of a delta."""
        delta: dict[str, Any] = {"content": event.text} if event.text else {}
        if event.reasoning:
            delta["reasoning"] = event.reasoning
        if event.tool_calls:
            delta["tool_calls"] = [_call_delta(call) for call in event.tool_calls]
        return self._chunk(delta, _logprobs(event), None)

    def closing(self, event: Finished) -> dict[str, Any]:
        """The chunk with the reason why the answer ended, and the receipt."""
        chunk = self._chunk({}, None, finish_of(event.finish_reason))
        return chunk | {"fovea": self.receipt(event.receipt)}

    def usage(self, event: Finished) -> dict[str, Any]:
        """The last chunk, of clients that ask for it."""
        return self._object("chat.completion.chunk", [], usage_of(event.receipt))

    def receipt(self, receipt: Receipt) -> dict[str, Any]:
        """The value of `fovea` in an answer."""
        notice = {"notice": self.notice} if self.notice else {}
        return {"request_id": self.request_id, **notice, "receipt": receipt.as_json()}

    def _chunk(self, delta: Any, logprobs: Any, finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return self._object("chat.completion.chunk", [choice], None)


def finish_of(reason: FinishReason | None) -> str:
    """A reason of a newer decoder is none that clients know: the answer stopped."""
    return (reason or FinishReason.STOP).value


def usage_of(receipt: Receipt) -> dict[str, Any]:
    """Tokens as the OpenAI API counts them; visual tokens are those of images."""
    totals = receipt.totals
    prompt = totals.visual_tokens + totals.text_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": totals.output_tokens,
        "total_tokens": prompt + totals.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": totals.cached_prompt_tokens,
            "image_tokens": totals.visual_tokens,
            "text_tokens": totals.text_tokens,
        },
    }


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _call_delta(call: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": call.arguments}
    if not call.id:
        return {"index": call.index, "function": function}
    return {
        "index": call.index,
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, **function},
    }


def _logprobs(text: Text | Answer) -> dict[str, Any] | None:
    """The log-probabilities of each token; None if they were not asked for."""
    if not text.logprobs:
        return None
    tops: Sequence[Sequence[TokenLogprob]] = text.top_logprobs or [()] * len(text.logprobs)
    tokens = zip(text.token_bytes, text.logprobs, tops, strict=True)
    content = [
        _token(data, logprob) | {"top_logprobs": [_token(each.token, each.logprob) for each in top]}
        for data, logprob, top in tokens
    ]
    return {"content": content, "refusal": None}


def _token(data: bytes, logprob: float) -> dict[str, Any]:
    return {
        "token": data.decode(errors="replace"),
        "bytes": list(data),
        "logprob": logprob if math.isfinite(logprob) else LEAST_LOGPROB,
    }
