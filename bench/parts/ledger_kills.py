"""Calls that end in every way, on a decoder that is killed again and again; the client counts them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from bench import services
from bench.runner import Run
from bench.services import Services
from fovea.cli.children import Launch
from fovea.client import AsyncClient, Sampling, Started
from fovea.contract.errors import FoveaError
from standin import model_dir

SPARED_S = 1.0
"""Before a kill, records may be lost."""
TIMEOUT_S, SHORT_S = 30.0, 0.05
WRITTEN_S = 20.0
KINDS = ("whole",) * 6 + ("cancel", "time out", "refuse")
LONG = 100_000
"""Tokens that no decoder grants."""


@dataclass
class Tally:
    """When each call that must have a record ended, by its request id; the kills; how calls ended."""

    ended: dict[str, float] = field(default_factory=dict)
    kills: list[float] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)

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


def killed(run: Run, calls: int, kills: int, callers: int) -> tuple[Tally, Counter[str]]:
    """Make the calls. Returns how often each request id is in the ledger too."""
    launched = services.pair(model_dir(), run.folder / "kills")
    running = run.start(*launched)
    tally, dice = Tally(), random.Random(run.seed)
    numbers = iter(range(calls + kills))
    cuts = frozenset(dice.sample(range(calls // (2 * kills), calls), kills))
    address = launched[-1].address
    while asyncio.run(_life(running, address, callers, numbers, cuts, tally, dice)):
        run.status(f"kill {len(tally.kills)} of {kills}, {tally.endings.total():,} calls")
        running = _restarted(running, launched)
    return tally, asyncio.run(_kept(address, tally.owed))


async def _life(
    running: Services,
    address: str,
    callers: int,
    numbers: Iterator[int],
    cuts: frozenset[int],
    tally: Tally,
    dice: random.Random,
) -> bool:
    """Calls until the decoder is killed, which a number of `cuts` does, or until none is left.

    Returns whether it was killed.
    """
    dead = asyncio.Event()

    async def caller() -> None:
        async with (
            AsyncClient(address, timeout_s=TIMEOUT_S) as client,
            AsyncClient(address, timeout_s=SHORT_S) as hasty,
        ):
            while not dead.is_set() and (number := next(numbers, None)) is not None:
                if number in cuts:
                    dead.set()
                    tally.kills.append(time.monotonic())
                    running.running[-1].kill()
                    return
                kind = dice.choice(KINDS)
                await _call(hasty if kind == "time out" else client, kind, f"call {number}", tally, dice)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return dead.is_set()


async def _call(client: AsyncClient, kind: str, request_id: str, tally: Tally, dice: random.Random) -> None:
    """Make a call, and note it if the decoder must have made its record."""
    begun, ending = False, "whole"
    tokens = LONG if kind == "refuse" else dice.randrange(1, 24)
    try:
        events = client.stream("How many?", sampling=Sampling(max_new_tokens=tokens), request_id=request_id)
        async with aclosing(events):
            async for event in events:
                begun = begun or isinstance(event, Started)
                if kind == "cancel":
                    ending = "cancelled"
                    break
    except FoveaError as error:
        ending = error.reason
    tally.endings[ending] += 1
    if ending == "UNAVAILABLE":  # the decoder was killed, or is not back yet
        return
    if begun or kind == "refuse":
        tally.note(request_id)


def _restarted(running: Services, launched: Sequence[Launch]) -> Services:
    decoder = running.children.restart(running.running[-1], launched[-1])
    fresh = Services(running.children, [*running.running[:-1], decoder])
    fresh.ready()
    return fresh


async def _kept(address: str, owed: set[str]) -> Counter[str]:
    """How many records each request id has, once those that are owed are there, or will never be."""
    end = time.monotonic() + WRITTEN_S
    async with AsyncClient(address, timeout_s=TIMEOUT_S) as client:
        while True:
            kept = Counter([record.request_id async for record in client.list_usage()])
            if owed <= kept.keys() or time.monotonic() > end:
                return kept
            await asyncio.sleep(0.5)
