"""Tables for fleets of GPUs: what each part takes, what a simulated fleet does, what stores must hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xxhash
from simpy import Environment

from bench.evaluation.page import table
from bench.simulation import capacity
from bench.simulation.cache import capacity_for
from bench.simulation.capacity import SharedRates, busiest_share, capacities, zipf
from bench.simulation.fleet import Fleet, Outcome, Request, Setup, open_loop
from bench.simulation.gpu import LIMITS, Gpu, GpuCosts, Model, Traffic

GPUS = (10, 100, 1000)
LOOPS = (1, 4)
"""Processes at the front of each service: as built, and with more."""
USED = 0.8
"""Share of the capacity at which a fleet is simulated and priced."""
PICTURES, EXPONENT = 1_000_000, 0.8
"""Stored pictures that requests are about, and Zipf's exponent of their popularity."""
WARM_UP_S, COUNTED_S = 8.0, 4.0
SECOND_LEVEL = "second level, a node"
SIDES = (512, 1024, 2048, 4096)
ROW_DTYPES = {"bf16": 1.0, "fp8": 0.5}
HIT_RATES = (0.5, 0.7, 0.8, 0.9, 0.95)
GIB = 2**30


@dataclass(frozen=True)
class Basis:
    """What all tables start from."""

    costs: GpuCosts
    model: Model
    gpu: Gpu
    traffic: Traffic
    shared: SharedRates
    seed: int


@dataclass(frozen=True)
class Plan:
    """The split of `gpus` that takes the most requests, and the requests a second of each part."""

    gpus: int
    loops: int
    setup: Setup
    parts: dict[str, float]

    @property
    def limits(self) -> list[str]:
        """The parts that limit the fleet, the smallest first. A second level grows by nodes."""
        parts = {name: rate for name, rate in self.parts.items() if name != SECOND_LEVEL}
        return sorted(parts, key=parts.__getitem__)

    @property
    def rate(self) -> float:
        """Requests a second at which it is simulated and priced."""
        return USED * self.parts[self.limits[0]]

    @property
    def nodes(self) -> float:
        """Valkey nodes that could take the rows of all new pictures."""
        return self.rate / self.parts[SECOND_LEVEL]

    @property
    def hours(self) -> float:
        """GPU-hours of a million requests."""
        return self.gpus * 1e6 / self.rate / 3600


def plan(basis: Basis, gpus: int, loops: int) -> Plan:
    costs, traffic = _with_loops(basis.costs, loops), basis.traffic
    encoder_s = max(capacity.encoder_gpu_s(costs, traffic), capacity.encoder_loop_s(costs, traffic))
    decoder_s = max(capacity.decoder_gpu_s(costs, traffic), capacity.decoder_loop_s(costs, traffic))
    setup = capacity.split(gpus, encoder_s, decoder_s)
    skew = busiest_share(setup.encoders, PICTURES, EXPONENT, basis.seed)
    row_bytes = basis.model.row_bytes
    shared = replace(basis.shared, probe=basis.shared.probe / loops)
    parts = capacities(setup, costs, traffic, shared, skew, row_bytes)
    return Plan(gpus, loops, setup, parts)


def _with_loops(costs: GpuCosts, loops: int) -> GpuCosts:
    """The costs of a request at a service whose event loop is spread over so many processes."""
    names = ("decoder_put", "decoder_ask", "decoder_token", "encoder_put", "encoder_hit", "encoder_new")
    return replace(costs, **{name: getattr(costs, name) / loops for name in names})


def simulate(basis: Basis, planned: Plan) -> Outcome:
    """The fleet under Poisson arrivals at its rate."""
    env = Environment()
    costs = replace(basis.costs, client_put=0.0, client_ask=0.0, client_token=0.0)
    shape = basis.traffic.shape
    fleet = Fleet(env, planned.setup, costs, shape, None, LIMITS, planned.loops, ranked_at_random)
    requests = draw(basis.traffic, basis.seed, fleet)
    return open_loop(fleet, env, requests, planned.rate, WARM_UP_S, COUNTED_S)


def draw(traffic: Traffic, seed: int, fleet: Fleet) -> Iterator[Request]:
    """New pictures, and stored ones by Zipf's law, without end. Stored rows appear when first asked for."""
    random, popularity = np.random.default_rng(seed), np.cumsum(zipf(PICTURES, EXPONENT))
    held: set[int] = set()
    number = PICTURES
    while True:
        if random.random() < traffic.new:
            number += 1
            yield Request(number, True)
            continue
        image = int(np.searchsorted(popularity, random.random()))
        if image not in held:
            held.add(image)
            fleet.hold([image])
        yield Request(image, False)


def ranked_at_random(image: str, encoders: Iterable[str]) -> list[str]:
    """Two encoders as random as rendezvous hashing ranks them, without hashing all of hundreds."""
    names = list(encoders)
    first, second = divmod(xxhash.xxh3_64_intdigest(image.encode()), len(names))
    others = names[second + 1 :] + names[:second]
    return [names[second], *others[first % len(others) :][:1]] if others else names


def parts_table(plans: Sequence[Plan]) -> str:
    """Requests a second by part, a column for each plan; the smallest is bold."""
    head = [f"{p.gpus:,} GPUs: {p.setup.encoders} + {p.setup.decoders}" for p in plans]
    rows = []
    for name in plans[0].parts:
        cells = [f"{p.parts[name]:,.0f}" for p in plans]
        bold = (f"**{cell}**" if p.limits[0] == name else cell for p, cell in zip(plans, cells, strict=True))
        rows.append([name, *bold])
    return table(["part", *head], rows)


def fleets_table(fleets: Iterable[tuple[Plan, Outcome]], gpu: Gpu) -> str:
    columns = ("GPUs", "event loops a service", "encoders + decoders", "first limit", "next limit",
               "requests/s", "TTFT p50, ms", "TTFT p99, ms", "GPU-hours a million",
               "price a million", "Valkey nodes")  # fmt: skip
    rows = []
    for p, outcome in fleets:
        middle, tail = (1000 * np.quantile(outcome.ttft_s, share) for share in (0.5, 0.99))
        rows.append(
            [
                f"{p.gpus:,}", str(p.loops), f"{p.setup.encoders} + {p.setup.decoders}", *p.limits[:2],
                f"{p.rate:,.0f}", f"{middle:,.0f}", f"{tail:,.0f}",
                f"{p.hours:,.0f}", f"{p.hours * gpu.hour:,.0f}", f"{np.ceil(p.nodes):,.0f}",
            ]
        )  # fmt: skip
    return table(columns, rows, left=5)


def bytes_table(model: Model) -> str:
    """What a square picture takes in the store, by side."""
    rows = []
    for side in SIDES:
        tokens = (side // 32) ** 2
        sizes = [tokens * model.row_bytes * share / 2**20 for share in ROW_DTYPES.values()]
        rows.append([f"{side} x {side}", f"{tokens:,}", *(f"{size:,.0f}" for size in sizes)])
    return table(["picture", "visual tokens", *(f"{name}, MiB" for name in ROW_DTYPES)], rows)


def store_table(model: Model, traffic: Traffic) -> str:
    """The room that all stores together need for a hit rate, by Zipf's exponent."""
    exponents = (0.6, EXPONENT, 1.0)
    size = traffic.visual * model.row_bytes / GIB
    held = {e: [capacity_for(zipf(PICTURES, e), rate) for rate in HIT_RATES] for e in exponents}
    rows = [
        [f"{rate:.0%}", *(f"{held[e][at] * size:,.0f}" for e in exponents)]
        for at, rate in enumerate(HIT_RATES)
    ]
    return table(["hit rate", *(f"exponent {e:g}, GiB" for e in exponents)], rows)
