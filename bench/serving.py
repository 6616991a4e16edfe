"""Our two services over gRPC against vLLM's OpenAI server over HTTP, from a picture to its answer.

Both get the same pictures, never seen before, ours as bytes and vLLM's as base64 in a data URL; both answer
greedily with as many tokens. Only one side computes at a time, in turns. vLLM runs at its best: prefix
caching on, and the better of eager and compiled, tried first.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench import bounds, services
from bench.card import show
from bench.environments import vllm_environ, vllm_python
from bench.host import versions
from bench.options import Options, finish, parser
from bench.parts.endless import endless
from bench.parts.photo import photo
from bench.result import Measure, Result, Sense
from bench.sides.openai import Asked, Heard, OpenAiServer, flags, serving
from fovea.client import Client, Finished, Sampling, Text
from standin import model_dir

PLAIN = 8
"""The concurrency whose measures have the plain names."""
CONCURRENCIES = (1, 8, 32)
SIDE = 256
TARGETS: dict[str, tuple[float, Sense]] = {
    "tokens_vs_vllm": (1.2, "at least"),
    "ttft_p50_vs_vllm": (1.0, "at most"),
    "ttft_p99_vs_vllm": (1.0, "at most"),
}


@dataclass(frozen=True)
class Effort:
    """Rounds of each concurrency; in a round every caller asks once."""

    rounds: int = 12
    tokens: int = 64
    concurrencies: tuple[int, ...] = CONCURRENCIES
    compiled: bool = True  # try vLLM compiled too, which takes minutes


QUICK = Effort(rounds=6, tokens=16, concurrencies=(PLAIN,), compiled=False)


@dataclass
class Rounds:
    """One side at one concurrency: tokens a second, and each caller's milliseconds to the first token."""

    rates: list[float] = field(default_factory=list)
    ttft_ms: list[list[float]] = field(default_factory=list)

    def add(self, seconds: float, heard: Sequence[Heard]) -> None:
        self.rates.append(sum(one.tokens for one in heard) / seconds)
        self.ttft_ms.append([one.ttft_ms for one in heard])


Found = dict[int, dict[str, Rounds]]


def main() -> int:
    options = Options.of(parser("Our services against vLLM's OpenAI server, on a CPU.").parse_args())
    return finish("serving", options.check, lambda: run(options))


def run(options: Options) -> Result:
    effort = QUICK if options.quick else Effort()
    found: Found = {c: {} for c in effort.concurrencies}
    peer: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fovea-serving-") as name, ExitStack() as stack:
        console = Console(stderr=True)
        with console.status("starting the sides") as status:
            model = endless(model_dir(), Path(name) / model_dir().name)
            ask = {"ours": stack.enter_context(_ours(model, Path(name)))}
            server = _vllm(stack, model, Path(name), effort, peer, options.seed)
            if server is not None:
                ask["vllm"] = _asleep_between(server)
            for concurrency in effort.concurrencies:
                status.update(f"{concurrency} callers")
                found[concurrency] = _turns(ask, concurrency, effort, options.seed)
    result = Result(
        bench="serving",
        seed=options.seed,
        quick=options.quick,
        config={"model": model_dir().name, "image": [SIDE, SIDE], "dtype": "fp32", **vars(effort)},
        sides={"ours": {"version": versions("fovea")["fovea"], "args": "", **_figures(found, "ours")}}
        | ({"vllm": {**peer, **_figures(found, "vllm")}} if peer else {}),
        measures=_measures(found, options.seed),
    )
    show("serving", result)
    return result


RoundOf = Callable[[Sequence[Asked]], tuple[float, list[Heard]]]


@contextmanager
def _ours(model: Path, folder: Path) -> Iterator[RoundOf]:
    encoder, decoder = services.pair(model, folder / "cache")
    with services.started((encoder, decoder)) as running:
        running.ready()
        with Client(decoder.address) as client:

            def ask(asked: Asked) -> Heard:
                return _heard(client, asked)

            yield lambda asked: _together(ask, asked)


def _heard(client: Client, asked: Asked) -> Heard:
    sampling = Sampling(max_new_tokens=asked.max_new_tokens)
    begin, first, tokens = time.perf_counter(), 0.0, 0
    with closing(client.stream(asked.text, [asked.picture], sampling=sampling)) as events:
        for event in events:
            if isinstance(event, Text | Finished) and not first:
                first = time.perf_counter()
            if isinstance(event, Finished):
                tokens = event.receipt.totals.output_tokens
    return Heard(1000 * (first - begin), tokens)


def _vllm(
    stack: ExitStack, model: Path, folder: Path, effort: Effort, peer: dict[str, Any], seed: int
) -> OpenAiServer | None:
    """The better of eager and compiled; None where there is no vLLM."""
    python = vllm_python()
    if python is None:
        return None
    tried: list[tuple[float, OpenAiServer, list[str]]] = []
    for eager in (True, False) if effort.compiled else (True,):
        arguments = flags(model, max(effort.concurrencies), eager)
        environ = vllm_environ(python, len(os.sched_getaffinity(0)))
        server = stack.enter_context(serving(python, arguments, environ, folder / f"vllm-{eager}.log"))
        ask, rate = _asleep_between(server), 0.0
        for turn in (-2, -1):  # the first only warms up
            seconds, heard = ask(_questions(PLAIN, turn, effort.tokens, seed))
            rate = sum(one.tokens for one in heard) / seconds
        tried.append((rate, server, arguments))
    _, best, arguments = max(tried, key=lambda one: one[0])
    with best.awake():
        peer |= {"version": best.version, "args": " ".join(arguments)}
    return best


def _asleep_between(server: OpenAiServer) -> RoundOf:
    def ask(asked: Sequence[Asked]) -> tuple[float, list[Heard]]:
        with server.awake():
            return _together(server.ask, asked)

    return ask


def _together(ask: Callable[[Asked], Heard], asked: Sequence[Asked]) -> tuple[float, list[Heard]]:
    with ThreadPoolExecutor(len(asked)) as pool:
        begin = time.perf_counter()
        heard = list(pool.map(ask, asked))
        return time.perf_counter() - begin, heard


def _questions(concurrency: int, turn: int, tokens: int, seed: int) -> list[Asked]:
    first = 9_000_011 * (seed + 1) + 100_000 * concurrency + 100 * (turn + 2)
    return [
        Asked(f"What is shown in picture {place}?", photo(first + place, SIDE), tokens)
        for place in range(concurrency)
    ]


def _turns(ask: dict[str, RoundOf], concurrency: int, effort: Effort, seed: int) -> dict[str, Rounds]:
    """Each side hears the same questions in the same turns; the first turn is not counted."""
    found = {name: Rounds() for name in ask}
    for turn in range(effort.rounds + 1):
        asked = _questions(concurrency, turn, effort.tokens, seed)
        for name, one in ask.items():
            seconds, heard = one(asked)
            if turn:
                found[name].add(seconds, heard)
    return found


def _measures(found: Found, seed: int) -> dict[str, Measure]:
    measures = {}
    for concurrency, sides in found.items():
        suffix = "" if concurrency == PLAIN else f"_at_{concurrency}"
        for name, (target, sense) in TARGETS.items():
            measures[name + suffix] = (
                Measure.of("ratio", _ratio(name, sides, seed), target, sense)
                if "vllm" in sides
                else Measure("ratio", None, target=target, sense=sense)
            )
    return measures


def _ratio(name: str, sides: dict[str, Rounds], seed: int) -> bounds.Bounded:
    ours, theirs = sides["ours"], sides["vllm"]
    if name == "tokens_vs_vllm":
        return bounds.ratio_of_medians(ours.rates, theirs.rates, seed)
    share = 0.99 if "p99" in name else 0.5
    pairs = np.stack([ours.ttft_ms, theirs.ttft_ms], axis=-1)  # (rounds, callers, 2)

    def ratio(drawn: bounds.Floats) -> bounds.Floats:
        pooled = np.quantile(drawn.reshape(len(drawn), -1, 2), share, axis=1)
        return np.asarray(pooled[:, 0] / pooled[:, 1])

    return bounds.bootstrap(pairs, ratio, seed)


def _figures(found: Found, side: str) -> dict[str, Any]:
    """The medians that the ratios were made of."""
    return {
        f"at_{concurrency}": {
            "tokens_per_s": round(float(np.median(sides[side].rates)), 2),
            "ttft_p50_ms": round(float(np.quantile(sides[side].ttft_ms, 0.5)), 2),
            "ttft_p99_ms": round(float(np.quantile(sides[side].ttft_ms, 0.99)), 2),
        }
        for concurrency, sides in found.items()
    }


if __name__ == "__main__":
    sys.exit(main())
