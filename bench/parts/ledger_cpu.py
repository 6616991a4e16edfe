"""CPU time of a decoder for the same requests, with the ledger and without, in turns."""

from __future__ import annotations

import asyncio

from bench import services
from bench.fault_cases.process import cpu_s
from bench.runner import Run
from bench.turns import turns
from fovea.cli.children import Child
from fovea.client import AsyncClient, Sampling
from standin import model_dir

SIDES = {"with": "true", "without": "false"}
TIMEOUT_S = 30.0
Times = dict[str, list[float]]


def cpu_times(run: Run, seconds: float, batch: int, pairs: int) -> Times:
    """CPU seconds of a batch of requests by side, paired by turn.

    Each of several pairs of processes takes a share of the time: the layout of a process in memory costs or
    saves as much as the ledger does.
    """
    times: Times = {name: [] for name in SIDES}
    for pair in range(pairs):
        run.status(f"CPU time, pair {pair + 1} of {pairs}")
        sides = {name: _decoder(run, f"{name}-{pair}", flag) for name, flag in SIDES.items()}
        for decoder in sides.values():
            asyncio.run(_batch(decoder.address, batch))
        for turn in turns(seconds / pairs, 3):
            for name in sorted(SIDES, reverse=turn % 2 == 0):
                times[name].append(_cpu(sides[name], batch))
        for decoder in sides.values():
            decoder.stop()
    return times


def _decoder(run: Run, name: str, ledger: str) -> Child:
    flags = ("--ledger", ledger, "--ready-without-encoders", "true", *services.ONE_THREAD)
    launched = services.pair(model_dir(), run.folder / name, decoder_flags=flags)
    return run.start(launched[-1]).running[-1]


def _cpu(decoder: Child, batch: int) -> float:
    before = cpu_s(decoder.pid)
    asyncio.run(_batch(decoder.address, batch))
    return cpu_s(decoder.pid) - before


async def _batch(address: str, size: int) -> None:
    async with AsyncClient(address, timeout_s=TIMEOUT_S) as client:
        for _ in range(size):
            await client.ask("How many?", sampling=Sampling(max_new_tokens=8))
