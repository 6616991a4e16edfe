"""A simulated set-up beside the real one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.bounds import NORMAL
from bench.simulation.fleet import Outcome, Setup
from bench.simulation.real import Observed, samples


@dataclass(frozen=True)
class Comparison:
    """A simulated set-up and the rounds of the real one."""

    setup: Setup
    predicted: Outcome
    rounds: Sequence[Observed]

    @property
    def real(self) -> tuple[float, float]:
        """Requests a second, and seconds to the first token."""
        rate, ttft_s = samples(self.rounds).mean(axis=0)
        return float(rate), float(ttft_s)

    @property
    def simulated(self) -> tuple[float, float]:
        return self.predicted.requests_per_s, self.predicted.mean_ttft_s

    @property
    def half_widths(self) -> tuple[float, float]:
        """Half of the 95 % bounds of the real means, as if rounds were independent."""
        taken = samples(self.rounds)
        rate, ttft_s = NORMAL * taken.std(axis=0, ddof=1) / np.sqrt(len(taken))
        return float(rate), float(ttft_s)

    @property
    def others(self) -> float:
        """Cores that other processes used during the real rounds."""
        return float(np.mean([each.others for each in self.rounds]))

    @property
    def cells(self) -> list[str]:
        rates, times = ((s, r) for s, r in zip(self.simulated, self.real, strict=True))
        return [
            str(self.setup),
            *(f"{rate:.2f}" for rate in rates), f"{rates[0] / rates[1] - 1:+.1%}",
            *(f"{1000 * time:,.0f}" for time in times), f"{times[0] / times[1] - 1:+.1%}",
            f"{self.others:.2f}",
        ]  # fmt: skip
