"""Our two services over gRPC against vLLM's OpenAI server over HTTP, from a picture to its answer.

Both get the same new pictures, ours as bytes and vLLM's as base64 in a data URL. Both answer greedily with
the same number of tokens. The sides take turns, so that a single side runs at a time. vLLM runs with prefix
caching, in the faster of its eager and compiled modes. Without vLLM all measures are owed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import runner, services
from bench.bounds import ratio_of_quantiles
from bench.host import side
from bench.parts.completions import Question
from bench.parts.photo import photos
from bench.parts.timing import Round, TimedAnswer, time_answer, time_round
from bench.result import Measure, Result
from bench.runner import Run
from bench.sides.openai import OpenAiServer, flags
from bench.sides.side import vllm_environ, vllm_python
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
TOKENS_TARGET, TTFT_TARGET = 1.2, 1.0


@dataclass(frozen=True)
class Effort:
    """Rounds of each concurrency. In a round every caller sends a request."""

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
    model = endless(model_dir(), run.folder / model_dir().name)
    sides = {"ours": _start_ours(model, run)}
    if server := _start_vllm(model, effort, peer, run):
        sides["vllm"] = server.ask_at_once
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


def _start_ours(model: Path, run: Run) -> AskRound:
    launched = services.pair(model, run.folder / "cache")
    run.start(*launched)
    client = run.stack.enter_context(Client(launched[-1].address))

    def ask(question: Question) -> TimedAnswer:
        sampling = Sampling(max_new_tokens=question.max_new_tokens)
        return time_answer(client, question.text, [question.picture], sampling)

    return lambda questions: time_round(ask, questions, len(questions))


def _start_vllm(model: Path, effort: Effort, peer: dict[str, Any], run: Run) -> OpenAiServer | None:
    """The faster of eager and compiled, described in `peer`; None without an environment of vLLM."""
    python = vllm_python()
    if python is None:
        return None
    tried: list[tuple[float, OpenAiServer, list[str]]] = []
    for eager in (True, False) if effort.compiled else (True,):
        arguments = flags(model, max(effort.concurrencies), eager)
        log = run.folder / f"vllm-{eager}.log"
        server = OpenAiServer(python, arguments, vllm_environ(python, cores()), log)
        ask = run.stack.enter_context(server).ask_at_once
        pictures = photos(run.seed, SERIES, SIDE)
        ask(_questions(pictures, PLAIN, effort.tokens))  # warms up
        tried.append((ask(_questions(pictures, PLAIN, effort.tokens)).tokens_per_s, server, arguments))
    _, best, arguments = max(tried, key=lambda rated: rated[0])
    with best.resumed():
        peer |= {"version": best.version, "args": " ".join(arguments)}
    return best


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
        ours, theirs = sides["ours"], sides.get("vllm", ())
        taken[f"tokens_vs_vllm{suffix}"] = Measure.ratio(_rates(ours), _rates(theirs), seed, TOKENS_TARGET)
        for name, quantile in QUANTILES.items():
            taken[f"ttft_{name}_vs_vllm{suffix}"] = Measure.ratio(
                _ttft_ms(ours), _ttft_ms(theirs), seed, TTFT_TARGET, "at most", ratio_of_quantiles(quantile)
            )
    return taken


def _rates(rounds: Sequence[Round]) -> list[float]:
    return [timed.tokens_per_s for timed in rounds]


def _ttft_ms(rounds: Sequence[Round]) -> list[list[float]]:
    return [timed.ttft_ms for timed in rounds]


def _figures(rounds: Rounds, name: str) -> dict[str, Any]:
    """The medians and quantiles that the ratios are made of."""
    figures: dict[str, Any] = {}
    for concurrency, sides in rounds.items():
        at = figures[f"at_{concurrency}"] = {"tokens_per_s": round(median(_rates(sides[name])), 2)}
        for quantile, share in QUANTILES.items():
            at[f"ttft_{quantile}_ms"] = round(float(np.quantile(_ttft_ms(sides[name]), share)), 2)
    return figures


if __name__ == "__main__":
    runner.main("serving", "Our services against vLLM's OpenAI server, on a CPU.", measure)
