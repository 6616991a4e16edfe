"""What the caches are worth under load: all caches against none, on the same pictures and texts.

The load is that of a benchmark which NVIDIA published for Dynamo with this model family: 80 % of the requests
are about a picture that was asked about before, long texts, 150 output tokens, many requests at a time. Each
round has its own pool of pictures, in the same order for both sides, so that both meet each picture for the
first time equally often; pictures are stored before the clock starts. All texts differ and follow the
picture.

Two pairs of services run side by side and take turns; only one of them computes at a time. Without caches the
encoder stores no rows and the decoder keeps neither rows nor KV; concurrent requests for an image still share
one computation, as they always do. Measures are the side with caches against the side without: the mean, p90
and p99 of the time to the first token over all requests of all rounds, and output tokens a second. The
bootstrap draws whole rounds, because the requests of a round wait for each other.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import bounds, services
from bench.host import side
from bench.parts.photo import photo
from bench.parts.timed_answer import TimedAnswer, of_length, time_answer
from bench.result import Measure, Result
from bench.runner import Bench, Run
from fovea.client import Client
from standin import model_dir
from standin.lexicon import WORDS

SIDE = 768
MEAN_TARGET = 0.5
TAIL_TARGET = 1.0
TOKENS_TARGET = 1.3


@dataclass(frozen=True)
class Protocol:
    """A round: `requests` about `pictures`, `concurrency` at a time, each with `words` of text."""

    requests: int
    pictures: int
    concurrency: int
    words: int
    tokens: int

    @property
    def reuse(self) -> float:
        """The share of requests about a picture that this round has seen."""
        return 1 - self.pictures / self.requests


@dataclass(frozen=True)
class Effort:
    rounds: int
    protocol: Protocol


FULL = Effort(6, Protocol(requests=200, pictures=40, concurrency=64, words=165, tokens=150))
QUICK = Effort(2, Protocol(requests=10, pictures=2, concurrency=8, words=165, tokens=150))


@dataclass(frozen=True)
class Request:
    """`picture` is an index into the pool."""

    picture: int
    text: str
    seed: int


@dataclass(frozen=True)
class Round:
    """The answers to all requests of a round, in their order, and how long the round took."""

    answers: Sequence[TimedAnswer]
    seconds: float

    @property
    def ttft_ms(self) -> list[float]:
        return [answer.ttft_ms for answer in self.answers]

    @property
    def tokens_per_s(self) -> float:
        return sum(answer.receipt.totals.output_tokens for answer in self.answers) / self.seconds


Pair = tuple[Round, Round]
"""The same round with caches and without."""


def measure(run: Run) -> Result:
    effort = run.effort(FULL, QUICK)
    with _services(run.folder) as addresses:
        run.status("rounds")
        seeds = [7919 * run.seed + turn for turn in range(effort.rounds)]
        rounds = [_pair(addresses, effort.protocol, seed) for seed in seeds]
    cached, uncached = zip(*rounds, strict=True)
    uncached_args = " ".join((*services.NO_ROW_STORE, *services.NO_DECODER_CACHES))
    return Result(
        config={
            "model": model_dir().name,
            "image": [SIDE, SIDE],
            "rounds": effort.rounds,
            "reuse": effort.protocol.reuse,
            "text_tokens": _text_tokens(cached),
            **vars(effort.protocol),
        },
        sides={
            "ours": side("fovea", **_figures(cached)),
            "without": side("fovea", uncached_args, **_figures(uncached)),
        },
        measures=measures(rounds, run.seed),
    )


@contextmanager
def _services(folder: Path) -> Iterator[tuple[str, str]]:
    """The decoders' addresses: with caches, without."""
    cached = services.pair(model_dir(), folder / "with")
    uncached = services.pair(
        model_dir(),
        folder / "without",
        encoder_flags=services.NO_ROW_STORE,
        decoder_flags=services.NO_DECODER_CACHES,
    )
    with services.started((*cached, *uncached)):
        yield cached[-1].address, uncached[-1].address


def _pair(addresses: tuple[str, str], protocol: Protocol, seed: int) -> Pair:
    """The side that goes first alternates from round to round."""
    order = addresses if seed % 2 else addresses[::-1]
    rounds = {address: run_round(address, protocol, seed) for address in order}
    return rounds[addresses[0]], rounds[addresses[1]]


def requests(protocol: Protocol, seed: int) -> list[Request]:
    """Every picture at least once, the others drawn uniformly, in random order."""
    random = np.random.default_rng(seed)
    again = random.integers(protocol.pictures, size=protocol.requests - protocol.pictures)
    order = random.permutation(np.concatenate([np.arange(protocol.pictures), again]))
    texts = random.choice(WORDS, (protocol.requests, protocol.words))
    numbered = zip(itertools.count(seed), order, texts, strict=False)
    return [Request(int(picture), " ".join(words), number) for number, picture, words in numbered]


def run_round(address: str, protocol: Protocol, seed: int) -> Round:
    """A round against a running decoder."""
    files = [photo(1009 * (seed + 1) + number, SIDE) for number in range(protocol.pictures)]
    with Client(address) as client, ThreadPoolExecutor(protocol.concurrency) as callers:
        pool = [client.put(file).facts.digest for file in files]

        def ask(request: Request) -> TimedAnswer:
            sampling = of_length(protocol.tokens, request.seed)
            return time_answer(client, request.text, [pool[request.picture]], sampling)

        begin = time.perf_counter()
        answers = list(callers.map(ask, requests(protocol, seed)))
        return Round(answers, time.perf_counter() - begin)


def measures(rounds: Sequence[Pair], seed: int) -> dict[str, Measure]:
    """Each with caches against without."""
    cached, uncached = ([pair[place].ttft_ms for pair in rounds] for place in (0, 1))
    rates, uncached_rates = ([pair[place].tokens_per_s for pair in rounds] for place in (0, 1))
    mean = bounds.ratio_of_means(cached, uncached, seed)
    p90, p99 = (bounds.ratio_of_quantiles(cached, uncached, quantile, seed) for quantile in (0.9, 0.99))
    tokens = bounds.ratio_of_means(rates, uncached_rates, seed)
    return {
        "ttft_mean": Measure.of("ratio", mean, MEAN_TARGET, "at most"),
        "ttft_p90": Measure.of("ratio", p90, TAIL_TARGET, "at most"),
        "ttft_p99": Measure.of("ratio", p99, TAIL_TARGET, "at most"),
        "tokens_per_s": Measure.of("ratio", tokens, TOKENS_TARGET),
    }


def _text_tokens(rounds: Sequence[Round]) -> float:
    counts = [answer.receipt.totals.text_tokens for timed in rounds for answer in timed.answers]
    return round(float(np.mean(counts)), 1)


def _figures(rounds: Sequence[Round]) -> dict[str, float]:
    """What the ratios are made of."""
    ttft = [ms for timed in rounds for ms in timed.ttft_ms]
    totals = [answer.receipt.totals for timed in rounds for answer in timed.answers]
    return {
        "ttft_mean_ms": round(float(np.mean(ttft)), 1),
        "ttft_p50_ms": round(float(np.median(ttft)), 1),
        "tokens_per_s": round(float(np.mean([timed.tokens_per_s for timed in rounds])), 1),
        "encodes": sum(total.encodes for total in totals),
        "cached_prompt_tokens": sum(total.cached_prompt_tokens for total in totals),
    }


BENCH = Bench("reuse", "Measure what the caches are worth under load.", measure)

if __name__ == "__main__":
    sys.exit(BENCH.main())
