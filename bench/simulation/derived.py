"""Fleets of GPUs: their plans, the simulated outcomes, and the inputs that the page names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.simulation import tables
from bench.simulation.capacity import busiest_share
from bench.simulation.fleet import Outcome
from bench.simulation.gpu import LIMITS, RowCosts
from bench.simulation.tables import EXPONENT, GPUS, LOOPS, PICTURES, Basis, Plan


@dataclass(frozen=True)
class Derived:
    """Plans and outcomes by the event loops of each service, a value for each size of fleet."""

    basis: Basis
    rows: RowCosts
    plans: Mapping[int, Sequence[Plan]]
    outcomes: Mapping[int, Sequence[Outcome]]

    @classmethod
    def of(cls, basis: Basis, rows: RowCosts, gpus: Sequence[int] = GPUS) -> Derived:
        plans = {loops: [tables.plan(basis, count, loops) for count in gpus] for loops in LOOPS}
        outcomes = {loops: [tables.simulate(basis, each) for each in group] for loops, group in plans.items()}
        return cls(basis, rows, plans, outcomes)

    @property
    def by_size(self) -> list[tuple[Plan, Outcome]]:
        """By size, then by event loops."""
        columns = [zip(self.plans[loops], self.outcomes[loops], strict=True) for loops in LOOPS]
        return [pair for pairs in zip(*columns, strict=True) for pair in pairs]

    @property
    def skew(self) -> float:
        """The load of the busiest encoder of the largest fleet with stored pictures, over the mean."""
        encoders = self.plans[LOOPS[0]][-1].setup.encoders
        return busiest_share(encoders, PICTURES, EXPONENT, self.basis.seed)

    @property
    def facts(self) -> dict[str, Any]:
        """The inputs, by their names on the page."""
        gpu, traffic, costs = self.basis.gpu, self.basis.traffic, self.basis.costs
        shared, shape, postgres = self.basis.shared, traffic.shape, self.basis.shared.postgres_records
        return {
            "gpu": gpu.name, "compute_share": gpu.compute_share, "memory_share": gpu.memory_share,
            "tflops": gpu.flops_per_s / 1e12, "tb": gpu.bytes_per_s / 1e12, "hour": gpu.hour,
            "visual": traffic.visual, "row_mib": traffic.visual * self.basis.model.row_bytes / 2**20,
            "text": traffic.text, "answer": traffic.tokens, "gpu_new": traffic.new, "exponent": EXPONENT,
            "tower_ms": 1000 * costs.tower_s(shape.patches),
            "prefill_ms": 1000 * costs.prefill_token * shape.prompt,
            "step_ms": 1000 * costs.step_s(LIMITS.max_running, 0),
            "send_ms": 1000 * traffic.visual * self.rows.send,
            "receive_ms": 1000 * traffic.visual * self.rows.receive,
            "probe_ms": 1000 * shared.probe, "sqlite": f"{shared.sqlite_records:,.0f}",
            "postgres": "not measured" if postgres is None else f"{postgres:,.0f}",
            "node": shared.node_bytes / 1e9, "skew": self.skew, "more_loops": LOOPS[-1],
        }  # fmt: skip
