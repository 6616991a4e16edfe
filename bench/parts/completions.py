"""A plain client of the OpenAI API over HTTP, as plain as ours: the stream is read line by line."""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Question:
    """A question about a picture, and how long its answer is."""

    text: str
    picture: bytes
    max_new_tokens: int


@dataclass(frozen=True)
class TimedCompletion:
    """Milliseconds from the request to its first token."""

    token_count: int
    ttft_ms: float


def time_completion(
    address: str,
    model: str,
    question: Question,
    connection: http.client.HTTPConnection | None = None,
    **parameters: Any,
) -> TimedCompletion:
    """Stream a chat completion, on a connection of its own unless one is given."""
    begin, first, tokens = time.perf_counter(), 0.0, 0
    own = connection or http.client.HTTPConnection(address)
    for event in events(own, completion_body(model, question, **parameters)):
        if event.get("choices") and not first and _has_token(event["choices"][0]):
            first = time.perf_counter()
        if event.get("usage"):
            tokens = event["usage"]["completion_tokens"]
    if connection is None:
        own.close()
    return TimedCompletion(tokens, 1000 * (first - begin))


def completion_body(model: str, question: Question, **parameters: Any) -> dict[str, Any]:
    """A greedy request that streams its answer."""
    url = "data:image/jpeg;base64," + base64.b64encode(question.picture).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question.text}]
    return {
        "model": model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": question.max_new_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **parameters,
    }


def events(connection: http.client.HTTPConnection, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a completion. Raises RuntimeError if it is refused."""
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"the server: {response.status} {response.read()[:300]!r}")
    for line in response:
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))


def _has_token(choice: Mapping[str, Any]) -> bool:
    """The first event only names the role; a token may be half a character and bring no text yet."""
    delta = choice["delta"]
    return bool(delta.get("content")) or "role" not in delta
