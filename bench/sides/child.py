"""The side's end of the protocol: loads a side and answers until the pipe is closed."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from bench.parts.timing import Round
from bench.sides.side import Answer, Question

SIDES = {
    "native": "bench.sides.native:NativeSide",
    "int8": "bench.sides.native:Int8Side",
    "generate": "bench.sides.generate:GenerateSide",
    "vllm": "bench.sides.vllm:VllmSide",
}


class LoadedSide(Protocol):
    """A loaded engine. `answers` runs all questions concurrently."""

    async def start(self) -> dict[str, Any]: ...

    async def answers(self, questions: Sequence[Question], tokens: int, gaps: bool) -> list[Answer]: ...

    async def close(self) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=SIDES)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("descriptor", type=int)
    options = parser.parse_args()
    module, _, name = SIDES[options.name].partition(":")
    asyncio.run(serve(getattr(import_module(module), name)(options), Connection(options.descriptor)))


async def serve(side: LoadedSide, pipe: Connection) -> None:
    try:
        pipe.send(await side.start())
        with suppress(EOFError):
            while True:
                questions, tokens, gaps = await asyncio.to_thread(pipe.recv)
                begin = time.perf_counter()
                answers = await side.answers(questions, tokens, gaps)
                pipe.send(Round(time.perf_counter() - begin, answers))
    finally:
        await side.close()


async def gather(deltas: AsyncIterator[Sequence[int]]) -> Answer:
    """The answer of a stream of token ids; its clock starts with the first read."""
    begin, first, tokens = time.perf_counter(), 0.0, list[int]()
    async for delta in deltas:
        first = first or time.perf_counter()
        tokens += delta
    return Answer.of(tokens, first - begin)


if __name__ == "__main__":
    main()
