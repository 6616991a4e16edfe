"""What a caller of the decoder waits for: the first token, cold and warm, and output tokens a second.

All by the client over gRPC. Cold is a picture that nobody has seen: upload, encode, transfer, prefill, first
token. Warm is another question about it a turn later: its rows are in the store.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from bench.parts.heard import hear
from bench.parts.photo import photo
from bench.turns import turns
from fovea.client import Client, Sampling

SIDE = 768
SMALL = 256
FIRST = Sampling(max_new_tokens=4)
# So hot that the end of the answer is as unlikely as any other token: the length is what was asked for.
HOT = 100.0


@dataclass
class FirstTokens:
    """Milliseconds to the first token, a value a turn."""

    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)


def first_tokens(address: str, seconds: float, least: int, seed: int) -> FirstTokens:
    """Against a running decoder, with a new picture every turn."""
    times = FirstTokens()
    with Client(address) as client:
        previous = _picture(seed, -1)
        _first(client, "What is this?", previous)  # not counted: connects, warms up
        for turn in turns(seconds, least):
            picture = _picture(seed, turn)
            times.cold.append(_first(client, "What is this?", picture))
            times.warm.append(_first(client, "How many are there?", previous))
            previous = picture
    return times


def _picture(seed: int, turn: int) -> bytes:
    # Other seeds than those of `encode`, whose pictures this encoder has seen.
    return photo(2_000_003 * (seed + 1) + 1_000_000 + turn, SIDE)


def _first(client: Client, question: str, picture: bytes) -> float:
    return hear(client, question, [picture], FIRST).ttft_ms


def rates(
    address: str, concurrencies: Sequence[int], rounds: int, tokens: int, seed: int
) -> dict[int, list[float]]:
    """Output tokens a second by concurrency, a value a round; the concurrencies take turns.

    Every caller asks once a round for an answer of about `tokens` tokens about a stored picture. A round
    lasts until its last answer is complete, prefill included.
    """
    found: dict[int, list[float]] = {concurrency: [] for concurrency in concurrencies}
    with Client(address) as client:
        digest = client.put(photo(seed, SMALL)).facts.digest
        client.ask("What is this?", [digest], sampling=FIRST)
        for turn in range(rounds):
            for concurrency in concurrencies:
                found[concurrency].append(_rate(client, digest, concurrency, tokens, 1000 * turn + seed))
    return found


def _rate(client: Client, digest: str, concurrency: int, tokens: int, seed: int) -> float:
    def ask(place: int) -> int:
        sampling = Sampling(temperature=HOT, seed=seed + place, max_new_tokens=tokens)
        return client.ask("What is this?", [digest], sampling=sampling).receipt.totals.output_tokens

    with ThreadPoolExecutor(concurrency) as pool:
        begin = time.perf_counter()
        made = sum(pool.map(ask, range(concurrency)))
        return made / (time.perf_counter() - begin)
