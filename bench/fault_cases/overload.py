"""Ten times the load that a decoder can serve: what it still serves, and how it refuses the rest.

A tenant floods the decoder with deadlines of 1 to 30 s; another sends little, and none of its requests may be
lost. The engine takes a fixed time a token, so that the callers have the CPU.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from bench.fault_cases.load import Outcome, open_loop
from bench.fault_cases.process import peak_rss_mib, reset_peak, rss_mib
from bench.result import Measure, Result
from bench.runner import Run
from bench.services import free_address
from fovea.cli.children import Launch
from fovea.cli.readiness import is_ready
from fovea.client import AsyncClient, Sampling
from fovea.server.identity import Identity, Role
from fovea.server.tokens import entry
from standin import model_dir

LOAD = 10
TOKENS, SLOTS = 20, 8
DEADLINES_S = (1.0, 3.0, 10.0, 30.0)
TENANTS = ("flood", "small")
SMALL_SHARE = 0.05
"""Of the peak: what the small tenant sends."""
SHORTEST_SHARE = 0.02
"""Of a class of deadlines: its answers, a fifth of what an even split of the peak would give."""
PROBE_S = 0.3


class Callers:
    """A client for each tenant and deadline."""

    def __init__(self, address: str) -> None:
        self._clients = {
            (tenant, deadline): AsyncClient(address, tenant, timeout_s=deadline)
            for tenant in TENANTS
            for deadline in (*DEADLINES_S, 60.0)
        }

    async def ask(self, number: int, tenant: str = "flood", deadline: float = 60.0) -> None:
        await self._clients[tenant, deadline].ask(
            f"Question {number}?", sampling=Sampling(max_new_tokens=TOKENS)
        )

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


class HealthProbe:
    """Asks for the decoder's health from a thread, and keeps how long each reply took."""

    def __init__(self, address: str) -> None:
        self.seconds: list[float] = []
        self._address = address
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> HealthProbe:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(PROBE_S):
            began = time.monotonic()
            alive = is_ready(self._address)
            self.seconds.append(time.monotonic() - began if alive else float("inf"))


@dataclass(frozen=True)
class Effort:
    peak_s: float = 10.0
    overload_s: float = 120.0


def measure(run: Run) -> Result:
    effort = run.effort(Effort(), Effort(peak_s=4.0, overload_s=15.0))
    address = free_address()
    decoder = run.start(_launch(address, run.folder)).running[0]
    return asyncio.run(_measure(run, effort, address, decoder.pid))


def _launch(address: str, folder: Path) -> Launch:
    tokens = folder / "tokens.toml"
    tokens.write_text("\n".join(entry(name, Identity(name, Role.USER)) for name in TENANTS))
    flags = {
        "--model": model_dir(),
        "--listen": address,
        "--metrics-listen": "",
        "--log-level": "warning",
        "--ready-without-encoders": "true",
        "--threads": 1,
        "--max-running": SLOTS,
        "--tokens": tokens,
    }
    given = [str(part) for flag in flags.items() for part in flag]
    return Launch("decoder", "bench.fault_cases.fixed_delay", address, given)


async def _measure(run: Run, effort: Effort, address: str, pid: int) -> Result:
    callers = Callers(address)
    run.status("measuring the peak")
    peak = await _peak(callers, effort.peak_s)
    before = rss_mib(pid)
    reset_peak(pid)
    run.status(f"{LOAD} times the peak of {peak:.1f} requests a second")
    flood = [DEADLINES_S[number % len(DEADLINES_S)] for number in range(int(LOAD * peak * effort.overload_s))]
    began = time.monotonic()
    with HealthProbe(address) as health:
        flooded, small = await asyncio.gather(
            open_loop(lambda n: callers.ask(n, "flood", flood[n]), LOAD * peak, effort.overload_s),
            open_loop(lambda n: callers.ask(n, "small", 10.0), SMALL_SHARE * peak, effort.overload_s),
        )
    growth = peak_rss_mib(pid) - before
    await callers.close()
    in_time = [o for o in (*flooded, *small) if o.ok and o.ended <= began + effort.overload_s]
    refused = [o for o in flooded if o.code == "RESOURCE_EXHAUSTED"]
    measures = {
        "goodput": Measure("ratio", len(in_time) / (peak * effort.overload_s), len(flooded), target=0.9),
        "refusal_ms": Measure("ms", _p99_ms(refused), len(refused), target=50.0, sense="at most"),
        "refusals_without_retry": Measure(
            "requests", sum(o.retry_after_s is None for o in refused), len(refused), target=0, sense="at most"
        ),
        "late": Measure("requests", sum(o.code == "DEADLINE_EXCEEDED" for o in flooded), len(flooded)),
        "small_failed": Measure(
            "requests", sum(not o.ok for o in small), len(small), target=0, sense="at most"
        ),
        "rss_growth_mib": Measure("MiB", growth, 1, target=64.0, sense="at most"),
        "health_ms": Measure(
            "ms", 1000 * max(health.seconds), len(health.seconds), target=1000.0, sense="at most"
        ),
        **{f"answered_{deadline:g}s": _answered(flooded, flood, deadline) for deadline in DEADLINES_S},
    }
    other = Counter(o.reason or o.code for o in (*flooded, *small) if not o.ok)
    return Result(
        {**vars(effort), "load": LOAD, "slots": SLOTS, "tokens": TOKENS, "deadlines_s": DEADLINES_S},
        {"fovea": {"peak_per_s": round(peak, 2)}},
        measures,
        notes=[f"not answered: {dict(other)}"],
    )


async def _peak(callers: Callers, seconds: float) -> float:
    """Answers a second to twice as many callers as there are slots, each of which asks again at once."""
    end = time.monotonic() + seconds
    answered: list[float] = []

    async def ask_again() -> None:
        while time.monotonic() < end:
            await callers.ask(len(answered))
            answered.append(time.monotonic())

    await asyncio.gather(*(ask_again() for _ in range(2 * SLOTS)))
    return sum(moment <= end for moment in answered) / seconds


def _p99_ms(outcomes: Sequence[Outcome]) -> float | None:
    return 1000 * quantiles([o.seconds for o in outcomes], n=100)[-1] if len(outcomes) > 1 else None


def _answered(outcomes: Sequence[Outcome], deadlines: Sequence[float], deadline: float) -> Measure:
    """The share of a deadline's class; an even split of the goodput would give each class the same."""
    own = [o for o in outcomes if deadlines[o.number] == deadline]
    return Measure("ratio", sum(o.ok for o in own) / max(1, len(own)), len(own), target=SHORTEST_SHARE)
