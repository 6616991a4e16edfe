"""Latencies over gRPC: an encode, cold and from the store; the first token, cold and warm; output tokens.

Cold is a new picture: upload, preprocessing, tower, and verified transfer of all rows; for a first token also
the prefill. The floor of an encode is a direct call of the same tower with the same patches; the difference
is the cost of the service. A stored picture is requested a turn after its first request, when its rows have
been written.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.parts.photo import photo, photos, to_patches
from bench.parts.timing import SHORT, TimedAnswer, of_length, time_answer, time_round
from bench.result import Samples
from bench.turns import ms_since, turns
from encoder_svc.vision.preprocess import Patches
from encoder_svc.vision.tower import Tower
from fovea.client import Client, EncoderClient
from fovea.contract.rows import RowDtype
from fovea.geometry import Geometry
from fovea.machine import pick_devices, pick_dtype

SIDE = 768
SMALL = 256
ENCODED, ANSWERED = 1, 2
"""Series of photos."""


def measure_encoding(address: str, model: Path, seconds: float, least: int, seed: int) -> Samples:
    """Of a running encoder of `model`: `encode_ms` and its part `put_ms`, `hit_ms`, `encode_floor_ms`."""
    tower = Tower.load(model, pick_devices("auto")[0], pick_dtype("auto", "auto"))
    geometry = Geometry.from_checkpoint(model)
    times, pictures = defaultdict[str, list[float]](list), photos(seed, ENCODED, SIDE)
    # The tower runs on its own thread, as in the service: where OpenMP's threads wait depends on it.
    with EncoderClient(address) as client, ThreadPoolExecutor(1) as tower_thread:
        previous = _time_cold(client, next(pictures), defaultdict(list))  # not counted: connects, warms up
        for _ in turns(seconds, least):
            file = next(pictures)
            digest = _time_cold(client, file, times)
            times["hit_ms"].append(time_encode(client, previous, "rows"))
            times["encode_floor_ms"].append(
                tower_thread.submit(_time_tower, tower, to_patches(file, geometry)).result()
            )
            previous = digest
    return times


def _time_cold(client: EncoderClient, file: bytes, times: dict[str, list[float]]) -> str:
    begin = time.perf_counter()
    digest = client.put(file).facts.digest
    times["put_ms"].append(ms_since(begin))
    times["encode_ms"].append(times["put_ms"][-1] + time_encode(client, digest, "encoded"))
    return digest


def time_encode(client: EncoderClient, digest: str, source: str) -> float:
    """Raises RuntimeError if the rows have another source."""
    begin = time.perf_counter()
    rows = client.encode(digest)
    spent = ms_since(begin)
    if rows.source != source:
        raise RuntimeError(f"the rows came from {rows.source}, expected {source}")
    return spent


def _time_tower(tower: Tower, image: Patches) -> float:
    begin = time.perf_counter()
    tower.encode([image], RowDtype.BF16)
    return ms_since(begin)


def measure_first_tokens(address: str, seconds: float, least: int, seed: int) -> Samples:
    """`ttft_cold_ms` and `ttft_warm_ms` of a running decoder, with a new picture every turn."""
    times, pictures = defaultdict[str, list[float]](list), photos(seed, ANSWERED, SIDE)
    with Client(address) as client:
        previous = next(pictures)
        time_answer(client, "What is this?", [previous])  # not counted: connects, warms up
        for _ in turns(seconds, least):
            picture = next(pictures)
            times["ttft_cold_ms"].append(time_answer(client, "What is this?", [picture]).ttft_ms)
            times["ttft_warm_ms"].append(time_answer(client, "How many are there?", [previous]).ttft_ms)
            previous = picture
    return times


def measure_rates(
    address: str, concurrencies: Sequence[int], rounds: int, tokens: int, seed: int
) -> dict[int, list[float]]:
    """Output tokens a second by concurrency, a value for each round; the concurrencies take turns.

    In a round every caller requests an answer of about `tokens` tokens about a stored picture. A round
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
    def ask(caller: int) -> TimedAnswer:
        return time_answer(client, "What is this?", [digest], of_length(tokens, seed + caller))

    return time_round(ask, range(concurrency), concurrency).tokens_per_s
