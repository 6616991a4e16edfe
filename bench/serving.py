"""Our two services over gRPC against vLLM's OpenAI server over HTTP, from a picture to its answer.

Both get the same pictures, never seen before, ours as bytes and vLLM's as base64 in a data URL; both answer
greedily with the same number of tokens. Only one side computes at a time, in turns. vLLM runs at its best:
prefix caching on, and the better of eager and compiled, tried first. Without its environment everything is
owed.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import bounds, services
from bench.host import side
from bench.parts.photo import photos
from bench.parts.timed_answer import time_answer
from bench.result import Measure, Result, Sense
from bench.runner import Bench, Run
from bench.sides.openai import OpenAiServer, Question, flags
from bench.sides.process import vllm_environ, vllm_python
from bench.sides.protocol import Answer, Round
from fovea.client import Client, Sampling
from fovea.machine import cores
from standin import model_dir

PLAIN = 8
"""The concurrency whose measures have the plain names."""
CONCURRENCIES = (1, 8, 32)
SIDE = 256
GENERATION = "generation_config.json"
SERIES = 50
"""Of photos, the first; each concurrency has its own."""
QUANTILES = {"p50": 0.5, "p99": 0.99}
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


AskRound = Callable[[Sequence[Question]], Round]
Rounds = Mapping[int, Mapping[str, Sequence[Round]]]
"""By concurrency, then by side."""


def measure(run: Run) -> Result:
    effort, peer = run.effort(Effort(), QUICK), dict[str, Any]()
    with ExitStack() as stack:
        model = endless(model_dir(), run.folder / model_dir().name)
        sides = {"ours": stack.enter_context(_ours(model, run.folder))}
        if server := _start_vllm(stack, model, effort, peer, run):
            sides["vllm"] = _resumed_round(server)
        rounds = {}
        for concurrency in effort.concurrencies:
            run.status(f"{concurrency} callers")
            rounds[concurrency] = _ask_in_turns(sides, concurrency, effort, run.seed)
    config = {"model": model_dir().name, "image": [SIDE, SIDE], "dtype": "fp32", **vars(effort)}
    vllm = {"vllm": {**peer, **_figures(rounds, "vllm")}} if peer else {}
    return Result(
        config=config,
        sides={"ours": side("fovea", **_figures(rounds, "ours")), **vllm},
        measures=measures(rounds, run.seed),
    )


def endless(model: Path, folder: Path) -> Path:
    """The checkpoint with an end token that the model never generates, for answers of the requested length.

    It replaces `ignore_eos`, which callers of our services do not have. `folder` holds links to the files of
    `model` and a generation config of its own.
    """
    folder.mkdir(parents=True)
    for path in model.iterdir():
        if path.name != GENERATION:
            (folder / path.name).symlink_to(path.resolve())
    generation = json.loads((model / GENERATION).read_text())
    generation["eos_token_id"] = json.loads((model / "config.json").read_text())["video_token_id"]
    (folder / GENERATION).write_text(json.dumps(generation))
    return folder


@contextmanager
def _ours(model: Path, folder: Path) -> Iterator[AskRound]:
    launched = services.pair(model, folder / "cache")
    with services.started(launched), Client(launched[-1].address) as client:

        def ask(question: Question) -> Answer:
            sampling = Sampling(max_new_tokens=question.max_new_tokens)
            answer = time_answer(client, question.text, [question.picture], sampling)
            return Answer(answer.receipt.totals.output_tokens, answer.ttft_ms)

        yield lambda questions: _ask_at_once(ask, questions)


def _start_vllm(
    stack: ExitStack, model: Path, effort: Effort, peer: dict[str, Any], run: Run
) -> OpenAiServer | None:
    """The better of eager and compiled, described in `peer`; None without an environment of vLLM."""
    python = vllm_python()
    if python is None:
        return None
    tried: list[tuple[float, OpenAiServer, list[str]]] = []
    for eager in (True, False) if effort.compiled else (True,):
        arguments = flags(model, max(effort.concurrencies), eager)
        log = run.folder / f"vllm-{eager}.log"
        server = OpenAiServer(python, arguments, vllm_environ(python, cores()), log)
        ask = _resumed_round(stack.enter_context(server))
        pictures = photos(run.seed, SERIES, SIDE)
        ask(_questions(pictures, PLAIN, effort.tokens))  # warms up
        tried.append((ask(_questions(pictures, PLAIN, effort.tokens)).tokens_per_s, server, arguments))
    _, best, arguments = max(tried, key=lambda rated: rated[0])
    with best.resumed():
        peer |= {"version": best.version, "args": " ".join(arguments)}
    return best


def _resumed_round(server: OpenAiServer) -> AskRound:
    def ask(questions: Sequence[Question]) -> Round:
        with server.resumed():
            return _ask_at_once(server.ask, questions)

    return ask


def _ask_at_once(ask: Callable[[Question], Answer], questions: Sequence[Question]) -> Round:
    with ThreadPoolExecutor(len(questions)) as pool:
        begin = time.perf_counter()
        answers = list(pool.map(ask, questions))
        return Round(time.perf_counter() - begin, answers)


def _questions(pictures: Iterator[bytes], count: int, tokens: int) -> list[Question]:
    numbered = enumerate(itertools.islice(pictures, count))
    return [Question(f"What is shown in picture {at}?", picture, tokens) for at, picture in numbered]


def _ask_in_turns(
    sides: Mapping[str, AskRound], concurrency: int, effort: Effort, seed: int
) -> dict[str, list[Round]]:
    """Each side gets the same questions in the same turns; the first turn is not counted."""
    rounds: dict[str, list[Round]] = {name: [] for name in sides}
    pictures = photos(seed, SERIES + concurrency, SIDE)
    for _ in range(effort.rounds + 1):
        questions = _questions(pictures, concurrency, effort.tokens)
        for name, ask in sides.items():
            rounds[name].append(ask(questions))
    return {name: counted for name, (_, *counted) in rounds.items()}


def measures(rounds: Rounds, seed: int) -> dict[str, Measure]:
    taken = {}
    for concurrency, sides in rounds.items():
        suffix = "" if concurrency == PLAIN else f"_at_{concurrency}"
        for name, (target, sense) in TARGETS.items():
            owed = Measure("ratio", None, target=target, sense=sense)
            taken[name + suffix] = (
                Measure.of("ratio", _ratio(name, sides, seed), target, sense) if "vllm" in sides else owed
            )
    return taken


def _ratio(name: str, sides: Mapping[str, Sequence[Round]], seed: int) -> bounds.Bounded:
    ours, theirs = sides["ours"], sides["vllm"]
    if name == "tokens_vs_vllm":
        return bounds.ratio_of_medians(_rates(ours), _rates(theirs), seed)
    quantile = QUANTILES[name.split("_")[1]]
    return bounds.ratio_of_quantiles(_ttft_ms(ours), _ttft_ms(theirs), quantile, seed)


def _rates(rounds: Sequence[Round]) -> list[float]:
    return [timed.tokens_per_s for timed in rounds]


def _ttft_ms(rounds: Sequence[Round]) -> list[list[float]]:
    return [timed.ttft_ms for timed in rounds]


def _figures(rounds: Rounds, name: str) -> dict[str, Any]:
    """The medians and quantiles that the ratios are made of."""
    figures: dict[str, Any] = {}
    for concurrency, sides in rounds.items():
        rate = round(float(np.median(_rates(sides[name]))), 2)
        ttft = {
            f"ttft_{quantile}_ms": round(float(np.quantile(_ttft_ms(sides[name]), share)), 2)
            for quantile, share in QUANTILES.items()
        }
        figures[f"at_{concurrency}"] = {"tokens_per_s": rate, **ttft}
    return figures


BENCH = Bench("serving", "Our services against vLLM's OpenAI server, on a CPU.", measure)

if __name__ == "__main__":
    sys.exit(BENCH.main())
