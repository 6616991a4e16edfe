"""vLLM's OpenAI server as a side: a process that is suspended while it has no request."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.parts.completions import Question, time_completion
from bench.parts.timing import Round, time_round
from bench.services import START_S, free_address
from bench.sides.side import Answer, SideProcess

MODEL = "peer"
POLL_S = 0.25
GIB = 1024**3


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
        timed = time_completion(self.address, MODEL, question, ignore_eos=True)
        return Answer(timed.token_count, timed.ttft_ms)

    def ask_at_once(self, questions: Sequence[Question]) -> Round:
        with self.resumed():
            return time_round(self.ask, questions, len(questions))


def _get(address: str, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request("GET", path)
    return connection.getresponse()
