"""Answers as their callers experience them, and rounds of concurrent requests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from bench.turns import ms_since
from fovea.client import Budget, Client, Finished, Message, Sampling, Text
from fovea.contract.receipt import Receipt

SHORT = Sampling(max_new_tokens=4)
"""For questions of which only the first token is measured."""
DEFAULT_BUDGET = Budget()
HOT = 100.0


def of_length(tokens: int, seed: int) -> Sampling:
    """For answers of about `tokens` tokens. At this temperature an end token is as unlikely as any other."""
    return Sampling(temperature=HOT, seed=seed, max_new_tokens=tokens)


@dataclass(frozen=True)
class TimedAnswer:
    """Milliseconds from the request, uploads included. The first token of an empty answer is its end."""

    ttft_ms: float
    total_ms: float
    receipt: Receipt
    text: str = ""

    @property
    def token_count(self) -> int:
        return self.receipt.totals.output_tokens

    @property
    def sources(self) -> set[str]:
        return {image.source for image in self.receipt.images}

    def came_from(self, source: str) -> TimedAnswer:
        """Returns itself. Raises RuntimeError if an image has another source than `source`."""
        if self.sources != {source}:
            raise RuntimeError(f"the images came from {sorted(self.sources)}, expected {source}")
        return self


def time_answer(
    client: Client,
    question: str | Sequence[Message],
    images: Sequence[str | bytes] = (),
    sampling: Sampling = SHORT,
    budget: Budget = DEFAULT_BUDGET,
    begin: float | None = None,
) -> TimedAnswer:
    """Stream an answer. `begin` is the arrival of the request, if it waited before it was sent."""
    begin = time.perf_counter() if begin is None else begin
    first, text, receipt = None, "", None
    with closing(client.stream(question, images, budget=budget, sampling=sampling)) as events:
        for event in events:
            if first is None and isinstance(event, Text | Finished):
                first = ms_since(begin)
            if isinstance(event, Text):
                text += event.text
            elif isinstance(event, Finished):
                receipt = event.receipt
    if first is None or receipt is None:
        raise RuntimeError("the stream ended without an answer")
    return TimedAnswer(first, ms_since(begin), receipt, text)


@dataclass(frozen=True)
class Round:
    """The answers in the order of their requests. An answer has a `token_count` and a `ttft_ms`."""

    seconds: float
    answers: Sequence[Any]

    @property
    def tokens_per_s(self) -> float:
        tokens: int = sum(answer.token_count for answer in self.answers)
        return tokens / self.seconds

    @property
    def ttft_ms(self) -> list[float]:
        return [answer.ttft_ms for answer in self.answers]


def time_round(ask: Callable[[Any], Any], requests: Sequence[Any], concurrency: int) -> Round:
    """`concurrency` callers share the requests."""
    with ThreadPoolExecutor(concurrency) as callers:
        begin = time.perf_counter()
        answers = list(callers.map(ask, requests))
        return Round(time.perf_counter() - begin, answers)


def time_arrivals(ask: Callable[[Any, float], Any], requests: Sequence[Any], rate: float) -> Round:
    """`rate` requests a second arrive evenly, whatever the answers take. `ask` also gets the arrival."""
    with ThreadPoolExecutor(len(requests)) as callers:
        begin = time.perf_counter()

        def arrive(number: int) -> Any:
            due = begin + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            return ask(requests[number], due)

        answers = list(callers.map(arrive, range(len(requests))))
        return Round(time.perf_counter() - begin, answers)
