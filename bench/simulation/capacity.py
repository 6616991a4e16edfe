"""Requests a second that each part of a fleet can take: the smallest is the bottleneck.

A part is a group of servers and what a request costs them. Popular pictures load their owners more than
others; a ledger in PostgreSQL is shared by all decoders, and so is a second level of the store.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.bounds import Floats
from bench.simulation.fleet import COPIES, Setup
from bench.simulation.gpu import LIMITS, GpuCosts, Traffic

PROBE_S = 5.0
"""As `encoder_check_s`: every decoder asks every encoder that often."""


@dataclass(frozen=True)
class SharedRates:
    """Of what all decoders or encoders share: records a second of a ledger, bytes a second of a Valkey node,
    CPU seconds of a probe.
    """

    sqlite_records: float
    postgres_records: float | None
    node_bytes: float
    probe: float


def encoder_gpu_s(costs: GpuCosts, traffic: Traffic) -> float:
    """GPU seconds of an encoder for a request."""
    return traffic.new * costs.tower_s(traffic.patches)


def encoder_loop_s(costs: GpuCosts, traffic: Traffic, skew: float = 1.0) -> float:
    """CPU seconds for a request, at an encoder whose stored pictures are `skew` times as popular as the mean.
    New pictures are spread evenly.
    """
    new = traffic.new * (COPIES * costs.encoder_put + costs.encoder_new)
    return new + skew * (1 - traffic.new) * costs.encoder_hit


def decoder_gpu_s(costs: GpuCosts, traffic: Traffic) -> float:
    """GPU seconds of a decoder for a request when it runs as many as it may."""
    running, shape = LIMITS.max_running, traffic.shape
    return costs.step_s(running, 0) * shape.tokens / running + costs.prefill_token * shape.prompt


def decoder_loop_s(costs: GpuCosts, traffic: Traffic) -> float:
    return traffic.new * costs.decoder_put + costs.decoder_ask + traffic.tokens * costs.decoder_token


def split(gpus: int, encoder_s: float, decoder_s: float) -> Setup:
    """The set-up that takes the most requests a second, if each takes so many seconds of a server."""
    return max(
        (Setup(count, gpus - count) for count in range(1, gpus)),
        key=lambda setup: min(setup.encoders / encoder_s, setup.decoders / decoder_s),
    )


def capacities(
    setup: Setup, costs: GpuCosts, traffic: Traffic, shared: SharedRates, skew: float, row_bytes: int
) -> dict[str, float]:
    """Requests a second, by part. `skew`: load of the busiest encoder with stored pictures over the mean."""
    encoders, decoders = setup.encoders, setup.decoders
    loops = encoders * max(0.0, 1 - decoders * shared.probe / PROBE_S)
    stored_bytes = traffic.new * traffic.visual * row_bytes
    parts = {
        "encoder GPUs": encoders / encoder_gpu_s(costs, traffic),
        "encoder event loops": loops / encoder_loop_s(costs, traffic),
        "busiest owner (rendezvous)": loops / encoder_loop_s(costs, traffic, skew),
        "decoder GPUs": decoders / decoder_gpu_s(costs, traffic),
        "decoder event loops (front door)": decoders / decoder_loop_s(costs, traffic),
        "ledger, an SQLite file a decoder": decoders * shared.sqlite_records,
        "second level, a node": shared.node_bytes / stored_bytes,
    }
    if shared.postgres_records is not None:
        parts["ledger, one PostgreSQL"] = shared.postgres_records
    return parts


def busiest_share(encoders: int, pictures: int, exponent: float, seed: int) -> float:
    """The load of the busiest encoder over the mean, if the popularity of stored pictures follows Zipf's law
    and each has an owner as random as rendezvous hashing makes it.
    """
    weights = zipf(pictures, exponent)
    owners = np.random.default_rng(seed).integers(encoders, size=pictures)
    loads = np.bincount(owners, weights, minlength=encoders)
    return float(loads.max() * encoders)


def zipf(count: int, exponent: float) -> Floats:
    """Probabilities of `count` pictures, by rank."""
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return np.asarray(weights / weights.sum())
