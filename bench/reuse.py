"""What the caches are worth under load: all caches against none, on the same pictures and texts.

The load follows a benchmark that NVIDIA published for Dynamo with this model family: 80 % of the requests are
about a picture of an earlier request, with long texts, 150 output tokens, and many requests at a time. Each
round has its own pool of pictures, in the same order for both sides, so that new pictures are equally
frequent. Pictures are stored before the clock starts. All texts differ.

Two pairs of services take turns, so that a single pair runs at a time. Without caches the encoder stores no
rows and the decoder keeps neither rows nor KV. Concurrent requests for an image share a computation on both
sides. Measures compare the side with caches to the side without: mean, p90 and p99 of the time to first token
over all requests of all rounds, and output tokens a second. The bootstrap draws whole rounds, because the
requests of a round wait for each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench import bounds, runner, services
from bench.host import side
from bench.parts.photo import photo
from bench.parts.timing import Round, TimedAnswer, of_length, time_answer, time_round
from bench.result import Measure, Ratio, Result
from bench.runner import Run
from fovea.client import Client
from standin import model_dir
from standin.lexicon import WORDS

SIDE = 768
MEAN_TARGET = 0.5
TAIL_TARGET = 1.0
TOKENS_TARGET = 1.3


@dataclass(frozen=True)
class Protocol:
    """In each round `requests` about `pictures`, `concurrency` at a time, each with `words` of text."""

    rounds: int
    requests: int
    pictures: int
    concurrency: int
    words: int
    tokens: int

    @property
    def reuse(self) -> float:
        """The share of requests about a picture that this round has seen."""
        return 1 - self.pictures / self.requests


FULL = Protocol(rounds=6, requests=200, pictures=40, concurrency=64, words=165, tokens=150)
QUICK = Protocol(rounds=2, requests=10, pictures=2, concurrency=8, words=165, tokens=150)


@dataclass(frozen=True)
class Request:
    """`picture` is an index into the pool."""

    picture: int
    text: str
    seed: int


Pair = tuple[Round, Round]
"""The same round with caches and without."""


def measure(run: Run) -> Result:
    protocol = run.effort(FULL, QUICK)
    flags = {"encoder_flags": services.NO_ROW_STORE, "decoder_flags": services.NO_DECODER_CACHES}
    with_caches = services.pair(model_dir(), run.folder / "with")
    without = services.pair(model_dir(), run.folder / "without", **flags)
    run.start(*with_caches, *without)
    run.status("rounds")
    addresses = with_caches[-1].address, without[-1].address
    seeds = [7919 * run.seed + turn for turn in range(protocol.rounds)]
    rounds = [_pair(addresses, protocol, seed) for seed in seeds]
    cached, uncached = zip(*rounds, strict=True)
    uncached_args = " ".join((*services.NO_ROW_STORE, *services.NO_DECODER_CACHES))
    text_tokens = [answer.receipt.totals.text_tokens for timed in cached for answer in timed.answers]
    return Result(
        config={
            "model": model_dir().name,
            "image": [SIDE, SIDE],
            "reuse": protocol.reuse,
            "text_tokens": round(float(np.mean(text_tokens)), 1),
            **vars(protocol),
        },
        sides={
            "ours": side("fovea", **_figures(cached)),
            "without": side("fovea", uncached_args, **_figures(uncached)),
        },
        measures=measures(rounds, run.seed),
    )


def _pair(addresses: tuple[str, str], protocol: Protocol, seed: int) -> Pair:
    """The side that goes first alternates from round to round."""
    order = addresses if seed % 2 else addresses[::-1]
    rounds = {address: run_round(address, protocol, seed) for address in order}
    return rounds[addresses[0]], rounds[addresses[1]]


def requests(protocol: Protocol, seed: int) -> list[Request]:
    """Every picture at least once, the rest drawn uniformly, in random order."""
    random = np.random.default_rng(seed)
    again = random.integers(protocol.pictures, size=protocol.requests - protocol.pictures)
    order = random.permutation(np.concatenate([np.arange(protocol.pictures), again]))
    texts = random.choice(WORDS, (protocol.requests, protocol.words))
    numbered = zip(itertools.count(seed), order, texts, strict=False)
    return [Request(int(picture), " ".join(words), number) for number, picture, words in numbered]


def run_round(address: str, protocol: Protocol, seed: int) -> Round:
    """A round against a running decoder."""
    files = [photo(1009 * (seed + 1) + number, SIDE) for number in range(protocol.pictures)]
    with Client(address) as client:
        pool = [client.put(file).facts.digest for file in files]

        def ask(request: Request) -> TimedAnswer:
            sampling = of_length(protocol.tokens, request.seed)
            return time_answer(client, request.text, [pool[request.picture]], sampling)

        return time_round(ask, requests(protocol, seed), protocol.concurrency)


def measures(rounds: Sequence[Pair], seed: int) -> dict[str, Measure]:
    """Each with caches against without."""
    cached, uncached = ([pair[place].ttft_ms for pair in rounds] for place in (0, 1))
    rates, uncached_rates = ([pair[place].tokens_per_s for pair in rounds] for place in (0, 1))

    def ttft(target: float, statistic: Ratio) -> Measure:
        return Measure.ratio(cached, uncached, seed, target, "at most", statistic)

    return {
        "ttft_mean": ttft(MEAN_TARGET, bounds.ratio_of_means),
        "ttft_p90": ttft(TAIL_TARGET, bounds.ratio_of_quantiles(0.9)),
        "ttft_p99": ttft(TAIL_TARGET, bounds.ratio_of_quantiles(0.99)),
        "tokens_per_s": Measure.ratio(
            rates, uncached_rates, seed, TOKENS_TARGET, statistic=bounds.ratio_of_means
        ),
    }


def _figures(rounds: Sequence[Round]) -> dict[str, Any]:
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


if __name__ == "__main__":
    runner.main("reuse", "Measure what the caches are worth under load.", measure)
