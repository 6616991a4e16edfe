"""What the ledger keeps when calls are cut and the decoder is killed, and what it costs.

- `missing`, `double`: calls that a client made, a third of them cancelled, timed out or refused, while the
  decoder is killed again and again. A call that the decoder answered, refused or had begun to answer must
  have exactly one record, unless it ended within a second of a kill, or was cut by the kill itself.
- `cpu_share`: CPU time of the decoder for the same requests, with the ledger against without.
- `anomalies_found`, `false_alarms`: see `bench.parts.anomalies`.

For the first two, clients count from outside: they name every request, and read the records of UsageService.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from bench import runner, services
from bench.fault_cases.process import cpu_s
from bench.host import side
from bench.parts import anomalies
from bench.result import Measure, Result
from bench.runner import Run
from bench.services import Services
from bench.turns import turns
from fovea.cli.children import Launch
from fovea.client import AsyncClient, Sampling, Started
from fovea.contract.errors import FoveaError
from standin import model_dir

CPU_TARGET = 1.01
SPARED_S = 1.0
"""Before a kill, records may be lost."""
TIMEOUT_S, SHORT_S = 30.0, 0.05
KINDS = ("whole",) * 6 + ("cancel", "time out", "refuse")


@dataclass(frozen=True)
class Effort:
    """How much is asked."""

    calls: int = 10_000
    kills: int = 20
    callers: int = 16
    cpu_s: float = 120.0
    batch: int = 40


QUICK = Effort(calls=200, kills=1, callers=8, cpu_s=6.0, batch=10)


@dataclass
class Tally:
    """When each call that must have a record ended, by its request id."""

    ended: dict[str, float] = field(default_factory=dict)
    kills: list[float] = field(default_factory=list)

    def note(self, request_id: str) -> None:
        self.ended[request_id] = time.monotonic()

    @property
    def owed(self) -> set[str]:
        """The ids of calls that ended a second or more before a kill, or after the restart that followed."""
        return {
            request_id
            for request_id, ended in self.ended.items()
            if not any(abs(kill - ended) < SPARED_S for kill in self.kills)
        }


def measure(run: Run) -> Result:
    effort = run.effort(Effort(), QUICK)
    run.status("kills")
    tally, kept = _killed(run, effort)
    counts = Counter(kept)
    run.status("CPU time")
    with_ledger, without = _cpu(run, effort)
    owed = tally.owed
    return Result(
        config={"model": model_dir().name, **vars(effort)},
        sides={"ours": side("fovea")},
        measures={
            "missing": _count(len(owed - set(counts)), len(owed)),
            "double": _count(sum(count > 1 for count in counts.values()), len(counts)),
            "cpu_share": Measure.ratio(with_ledger, without, run.seed, CPU_TARGET, "at most"),
            **anomalies.measures(run.effort(anomalies.SEEDS, 4)),
        },
        notes=[
            f"{len(tally.kills)} kills; {len(tally.ended) - len(owed)} calls ended within a second of one"
        ],
    )


def _count(value: int, n: int) -> Measure:
    return Measure("count", value, n, value, value, 0, "at most")


def _killed(run: Run, effort: Effort) -> tuple[Tally, list[str]]:
    """Make the calls in rounds, each with a kill. Returns the request ids in the ledger too."""
    launched = services.pair(model_dir(), run.folder)
    running = run.start(*launched)
    tally, dice = Tally(), random.Random(run.seed)
    for _ in range(effort.kills):
        asyncio.run(_round(running, launched, effort, tally, dice))
        running = _restarted(running, launched)
    kept = asyncio.run(_kept(launched[-1].address))
    return tally, kept


async def _round(
    running: Services, launched: Sequence[Launch], effort: Effort, tally: Tally, dice: random.Random
) -> None:
    """A share of the calls; the decoder dies at a random call."""
    numbers = iter(range(effort.calls // effort.kills))
    dies_at = dice.randrange(len(range(effort.calls // effort.kills)) // 2, effort.calls // effort.kills)
    dead = asyncio.Event()

    async def caller() -> None:
        address = launched[-1].address
        async with (
            AsyncClient(address, timeout_s=TIMEOUT_S) as client,
            AsyncClient(address, timeout_s=SHORT_S) as hasty,
        ):
            for number in numbers:
                if dead.is_set():
                    return
                if number == dies_at:
                    tally.kills.append(time.monotonic())
                    running.running[-1].kill()
                    dead.set()
                    return
                kind = dice.choice(KINDS)
                asks = hasty if kind == "time out" else client
                await _call(asks, kind, f"{len(tally.kills)}-{number}", tally, dice)

    await asyncio.gather(*(caller() for _ in range(effort.callers)))


async def _call(client: AsyncClient, kind: str, request_id: str, tally: Tally, dice: random.Random) -> None:
    """Make a call, and note it if the decoder must have made its record."""
    begun = False
    tokens = 100_000 if kind == "refuse" else dice.randrange(1, 24)
    try:
        events = client.stream("How many?", sampling=Sampling(max_new_tokens=tokens), request_id=request_id)
        async with aclosing(events):
            async for event in events:
                begun = begun or isinstance(event, Started)
                if kind == "cancel":
                    break
    except FoveaError as error:
        if error.reason == "UNAVAILABLE":  # the decoder was killed, or is not back yet
            return
    if begun or kind == "refuse":
        tally.note(request_id)


def _restarted(running: Services, launched: Sequence[Launch]) -> Services:
    decoder = running.children.restart(running.running[-1], launched[-1])
    fresh = Services(running.children, [*running.running[:-1], decoder])
    fresh.ready()
    return fresh


async def _kept(address: str) -> list[str]:
    """The request ids of all records."""
    async with AsyncClient(address, timeout_s=TIMEOUT_S) as client:
        return [record.request_id async for record in client.list_usage()]


def _cpu(run: Run, effort: Effort) -> tuple[list[float], list[float]]:
    """CPU seconds of a decoder for a batch of requests, with the ledger and without, in turns."""
    sides = {}
    for name, flag in (("with", "true"), ("without", "false")):
        launched = services.pair(model_dir(), run.folder / name, decoder_flags=("--ledger", flag))
        sides[name] = run.start(*launched).running[-1]
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in turns(effort.cpu_s, 3):
        for name, decoder in sides.items():
            before = cpu_s(decoder.pid)
            asyncio.run(_batch(decoder.address, effort.batch))
            times[name].append(cpu_s(decoder.pid) - before)
    return times["with"], times["without"]


async def _batch(address: str, size: int) -> None:
    async with AsyncClient(address, timeout_s=TIMEOUT_S) as client:
        for _ in range(size):
            with suppress(StopAsyncIteration):
                await client.ask("How many?", sampling=Sampling(max_new_tokens=8))


if __name__ == "__main__":
    runner.main("ledger", "Kill the decoder, count its records, and weigh the ledger's CPU time.", measure)
