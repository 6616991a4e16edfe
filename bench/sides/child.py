"""The child's end of the protocol: `python -m bench.sides.child NAME` loads a side, answers until stdin ends.

Stdout belongs to the protocol; what libraries print goes to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TextIO

from bench.sides.material import Question, load

SIDES = {
    "native": "bench.sides.native:NativeSide",
    "int8": "bench.sides.native:Int8Side",
    "generate": "bench.sides.generate:GenerateSide",
    "vllm": "bench.sides.vllm:VllmSide",
}
Answered = dict[str, Any]


class Runner(Protocol):
    """A loaded engine. `answers` takes questions that are asked at once."""

    async def start(self) -> dict[str, Any]: ...

    async def answers(self, asked: Sequence[Question], tokens: int, gaps: bool) -> list[Answered]: ...

    async def close(self) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SIDES)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--eager", action="store_true")
    options = parser.parse_args()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    module, _, name = SIDES[options.name].partition(":")
    asyncio.run(serve(getattr(import_module(module), name)(options), load(options.material), replies))


async def serve(side: Runner, questions: Sequence[Question], replies: TextIO) -> None:
    def reply(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=replies, flush=True)

    try:
        reply(await side.start())
        while line := await asyncio.to_thread(sys.stdin.readline):
            wanted = json.loads(line)
            asked = [questions[number] for number in wanted["ask"]]
            begin = time.perf_counter()
            said = await side.answers(asked, wanted["tokens"], wanted["gaps"])
            reply({"seconds": time.perf_counter() - begin, "said": said})
    finally:
        await side.close()


def answered(tokens: Sequence[int], ttft_s: float, gaps: Sequence[float] = ()) -> Answered:
    return {"tokens": list(tokens), "ttft_ms": 1000 * ttft_s, "gaps": list(gaps)}


if __name__ == "__main__":
    main()
