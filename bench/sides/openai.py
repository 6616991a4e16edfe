"""vLLM's OpenAI server as a side: a process that is stopped by signal until it is asked, and a client of it.

The client is as plain as ours is: one connection a request, the stream read line by line.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.services import START_S, free_address
from bench.sides.protocol import SideDied

MODEL = "peer"
END_S = 20.0
POLL_S = 0.25
GIB = 1024**3


@dataclass(frozen=True)
class Asked:
    """One question about one picture, and how long its answer is."""

    text: str
    picture: bytes
    max_new_tokens: int


@dataclass(frozen=True)
class Heard:
    """Milliseconds to the first token, and how many tokens came."""

    ttft_ms: float
    tokens: int


def flags(model: Path, concurrency: int, eager: bool) -> list[str]:
    """All that is not vLLM's default. Prefix caching is. It tells tokens as seldom as we do by default."""
    return [
        "--model", str(model), "--served-model-name", MODEL, "--dtype", "float32", "--max-model-len", "2048",
        "--max-num-seqs", str(concurrency), "--stream-interval", "4", "--kv-cache-memory-bytes", str(2 * GIB),
        "--limit-mm-per-prompt", '{"image": 1, "video": 0}',
        *(["--enforce-eager"] if eager else []),
    ]  # fmt: skip


class OpenAiServer:
    """A running server at `address`."""

    def __init__(self, process: subprocess.Popen[bytes], address: str, log: Path) -> None:
        self.address = address
        self._process = process
        self._log = log

    def wait_until_ready(self) -> None:
        """Raises SideDied, or TimeoutError."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise SideDied("vllm", self._log)
            with suppress(OSError, http.client.HTTPException):
                if _get(self.address, "/health") == 200:
                    return
            time.sleep(POLL_S)
        raise TimeoutError(f"vLLM's server was not ready within {START_S:.0f} s")

    @property
    def version(self) -> str:
        connection = http.client.HTTPConnection(self.address)
        connection.request("GET", "/version")
        return str(json.loads(connection.getresponse().read())["version"])

    @contextmanager
    def awake(self) -> Iterator[None]:
        """It computes only inside of this block."""
        self._signal(signal.SIGCONT)
        try:
            yield
        finally:
            self._signal(signal.SIGSTOP)

    def ask(self, asked: Asked) -> Heard:
        """One streamed chat completion."""
        begin, first, tokens = time.perf_counter(), 0.0, 0
        for event in _events(self.address, _body(asked)):
            if event.get("choices") and not first and _has_token(event["choices"][0]):
                first = time.perf_counter()
            if event.get("usage"):
                tokens = event["usage"]["completion_tokens"]
        return Heard(1000 * (first - begin), tokens)

    def end(self) -> None:
        self._signal(signal.SIGCONT)
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


@contextmanager
def serving(
    python: Path, arguments: Sequence[str], environ: Mapping[str, str], log: Path
) -> Iterator[OpenAiServer]:
    """A server that is ready, and asleep."""
    address = free_address()
    host, _, port = address.partition(":")
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--host", host, "--port", port]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, **environ},
            process_group=0,
        )
    server = OpenAiServer(process, address, log)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


def _get(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request("GET", path)
    return connection.getresponse().status


def _body(asked: Asked) -> dict[str, Any]:
    url = "data:image/jpeg;base64," + base64.b64encode(asked.picture).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": asked.text}]
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_tokens": asked.max_new_tokens,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _events(address: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The events of a completion. Raises RuntimeError where it is refused."""
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
