"""A load of many callers over a pool of pictures: most asks are about a picture that was asked about before.

The shape of a benchmark that NVIDIA published for Dynamo with this model family: 80 % reuse, long texts, 150
output tokens, many at a time. Here every round has a pool of its own, in the same order for every side, so
that each side meets each picture for the first time as often; pictures are stored before the clock runs.
Texts are all different and stand behind the picture. Knows a load, not who answers it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from bench.parts.heard import Heard, hear
from bench.parts.photo import photo
from fovea.client import Client, Sampling
from standin.lexicon import WORDS

SIDE = 768
# So hot that the end of the answer is as unlikely as any other token: the length is what was asked for.
HOT = 100.0


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
        """The share of asks about a picture that this round has seen."""
        return 1 - self.pictures / self.requests


@dataclass(frozen=True)
class Request:
    """`picture` is its place in the pool."""

    picture: int
    text: str
    seed: int


@dataclass(frozen=True)
class Load:
    """What all callers heard, in the order of the requests, and how long it took."""

    heard: Sequence[Heard]
    seconds: float

    @property
    def ttft_ms(self) -> list[float]:
        return [one.ttft_ms for one in self.heard]

    @property
    def tokens_per_s(self) -> float:
        return sum(one.receipt.totals.output_tokens for one in self.heard) / self.seconds


def requests(protocol: Protocol, seed: int) -> list[Request]:
    """Every picture at least once; the rest drawn evenly. The order is random."""
    random = np.random.default_rng(seed)
    again = random.integers(protocol.pictures, size=protocol.requests - protocol.pictures)
    order = random.permutation(np.concatenate([np.arange(protocol.pictures), again]))
    texts = random.choice(WORDS, (protocol.requests, protocol.words))
    return [
        Request(int(picture), " ".join(words), seed + at)
        for at, (picture, words) in enumerate(zip(order, texts, strict=True))
    ]


def run(address: str, protocol: Protocol, seed: int) -> Load:
    """One round against a running decoder."""
    with Client(address) as client:
        pool = [
            client.put(photo(1009 * (seed + 1) + at, SIDE)).facts.digest for at in range(protocol.pictures)
        ]

        def ask(request: Request) -> Heard:
            sampling = Sampling(temperature=HOT, seed=request.seed, max_new_tokens=protocol.tokens)
            return hear(client, request.text, [pool[request.picture]], sampling)

        with ThreadPoolExecutor(protocol.concurrency) as callers:
            begin = time.perf_counter()
            heard = list(callers.map(ask, requests(protocol, seed)))
            return Load(heard, time.perf_counter() - begin)
