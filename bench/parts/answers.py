"""What a caller of the decoder waits for: the first token, cold and warm, and output tokens a second.

All through the client over gRPC. Cold is a picture that no service has seen: upload, encode, transfer,
prefill, first token. Warm is another question about it a turn later: its rows are in the store.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.parts.photo import photo, photos
from bench.parts.timed_answer import SHORT, of_length, time_answer
from bench.turns import turns
from fovea.client import Client

SIDE = 768
SMALL = 256
SERIES = 2
"""Not that of `encode`, whose photos this encoder has seen."""


@dataclass
class FirstTokens:
    """Milliseconds to the first token, a value for each turn."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def measure_first_tokens(address: str, seconds: float, least: int, seed: int) -> FirstTokens:
    """Against a running decoder, with a new picture every turn."""
    times, pictures = FirstTokens(), photos(seed, SERIES, SIDE)
    with Client(address) as client:
        previous = next(pictures)
        time_answer(client, "What is this?", [previous])  # not counted: connects, warms up
        for _ in turns(seconds, least):
            picture = next(pictures)
            times.cold.append(time_answer(client, "What is this?", [picture]).ttft_ms)
            times.warm.append(time_answer(client, "How many are there?", [previous]).ttft_ms)
            previous = picture
    return times


def measure_rates(
    address: str, concurrencies: Sequence[int], rounds: int, tokens: int, seed: int
) -> dict[int, list[float]]:
    """Output tokens a second by concurrency, a value for each round; the concurrencies take turns.

    In a round every caller asks once for an answer of about `tokens` tokens about a stored picture. A round
    lasts until its last answer is complete, prefill included.
    """
    rates: dict[int, list[float]] = {concurrency: [] for concurrency in concurrencies}
    with Client(address) as client:
        digest = client.put(photo(seed, SMALL)).facts.digest
        client.ask("What is this?", [digest], sampling=SHORT)
        for turn in range(rounds):
            for concurrency in concurrencies:
                rates[concurrency].append(_rate(client, digest, concurrency, tokens, 1000 * turn + seed))
    return rates


def _rate(client: Client, digest: str, concurrency: int, tokens: int, seed: int) -> float:
    def ask(caller: int) -> int:
        answer = client.ask("What is this?", [digest], sampling=of_length(tokens, seed + caller))
        return answer.receipt.totals.output_tokens

    with ThreadPoolExecutor(concurrency) as pool:
        begin = time.perf_counter()
        made = sum(pool.map(ask, range(concurrency)))
        return made / (time.perf_counter() - begin)
