"""vLLM's OpenAI server as a side: a process that is suspended while it has no request, and its client.

The client is as plain as ours: a connection for each request, the stream read line by line.
"""

from __future__ import annotations

import base64
import http.client
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.parts.timing import Round, time_round
from bench.services import START_S, free_address
from bench.sides.side import Answer, SideProcess

MODEL = "peer"
POLL_S = 0.25
GIB = 1024**3


@dataclass(frozen=True)
class Question:
    """A question about a picture, and how long its answer is."""

    text: str
    picture: bytes
    max_new_tokens: int


def flags(model: Path, concurrency: int, eager: bool) -> list[str]:
    """Everything that differs from vLLM's defaults. It streams as rarely as we do by default."""
    return [
        "--model", str(model), "--served-model-name", MODEL, "--dtype", "float32", "--max-model-len", "2048",
        "--max-num-seqs", str(concurrency), "--stream-interval", "4", "--kv-cache-memory-bytes", str(2 * GIB),
        "--limit-mm-per-prompt", '{"image": 1, "video": 0}',
        *(["--enforce-eager"] if eager else []),
    ]  # fmt: skip


class OpenAiServer(SideProcess):
    """A server at `address`; leaving the block ends it."""

    def __init__(self, python: Path, arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.address = free_address()
        host, _, port = self.address.partition(":")
        command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", host, "--port", port]
        super().__init__("vllm", [*command, *arguments], environ, log)

    def _wait_until_ready(self) -> None:
        """Raises SideDied, or TimeoutError."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            self.check()
            with suppress(OSError, http.client.HTTPException):
                if _get(self.address, "/health").status == 200:
                    return
            time.sleep(POLL_S)
        raise TimeoutError(f"vLLM's server was not ready within {START_S:.0f} s")

    @property
    def version(self) -> str:
        return str(json.loads(_get(self.address, "/version").read())["version"])

    def ask(self, question: Question) -> Answer:
        """Stream a chat completion."""
        begin, first, tokens = time.perf_counter(), 0.0, 0
        for event in _events(self.address, _body(question)):
            if event.get("choices") and not first and _has_token(event["choices"][0]):
                first = time.perf_counter()
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
        return Answer(tokens, 1000 * (first - begin))

    def ask_at_once(self, questions: Sequence[Question]) -> Round:
        with self.resumed():
            return time_round(self.ask, questions, len(questions))


def _get(address: str, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request("GET", path)
    return connection.getresponse()


def _body(question: Question) -> dict[str, Any]:
    url = "data:image/jpeg;base64," + base64.b64encode(question.picture).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question.text}]
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": question.max_new_tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _events(address: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a completion. Raises RuntimeError if it is refused."""
    connection = http.client.HTTPConnection(address)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"vLLM's server: {response.status} {response.read()[:300]!r}")
    for line in response:
        if line.startswith(b"data: {"):
            yield json.loads(line.removeprefix(b"data: "))
    connection.close()


def _has_token(choice: Mapping[str, Any]) -> bool:
    """The first event only names the role; a token may be half a character and bring no text yet."""
    delta = choice["delta"]
    return bool(delta.get("content")) or "role" not in delta
