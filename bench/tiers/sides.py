"""The sides of `bench.cascade`: services with some levers on, and a round of requests against one of them.

Each side has encoders and a decoder of its own, so that no side warms another's store.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from bench import services
from bench.evaluation.asking import MAX_NEW_TOKENS, Bools
from bench.runner import Run
from bench.tiers.traffic import CASCADE, Request, traffic
from fovea.cli.children import Launch
from fovea.client import Answer, Client, Sampling
from standin import model_dir, small_dir

EXACT, SMALL, LARGE = "exact", "small", "large"
"""The tiers, as receipts name them."""
SAMPLING = Sampling(max_new_tokens=MAX_NEW_TOKENS)
CALLERS = 16
WARM_SEED = 900
"""Of the traffic before the first round; no round has it."""


@dataclass(frozen=True)
class Levers:
    """What a side uses: `caches` (the encoder's rows, and the decoder's rows and KV), and which tiers."""

    caches: bool
    tiers: tuple[str, ...]

    def without(self, lever: str) -> Levers:
        if lever == CACHES:
            return replace(self, caches=False)
        return replace(self, tiers=tuple(tier for tier in self.tiers if tier != lever))


CACHES = "caches"
ALL = Levers(True, (EXACT, SMALL, LARGE))
NONE = Levers(False, (LARGE,))
SWITCHED = (CACHES, EXACT, SMALL)
"""Levers that are switched off in turn."""


class Sides:
    """The sides of a run. A side starts when it is first asked for, and runs until the bench ends."""

    def __init__(self, run: Run, calibration: Path) -> None:
        self._run, self._calibration = run, calibration
        self._addresses: dict[Levers, str] = {}

    def of(self, *wanted: Levers) -> list[str]:
        """The decoders' addresses. All services that do not run yet start at the same time."""
        new = [levers for levers in wanted if levers not in self._addresses]
        folders = [self._run.folder / f"side-{len(self._addresses) + number}" for number in range(len(new))]
        launched = [launches(folder, levers, self._calibration) for folder, levers in zip(folders, new, strict=True)]
        if launched:
            self._run.status(f"starting {len(launched)} sides")
            self._run.start(*(launch for side in launched for launch in side))
        for levers, side in zip(new, launched, strict=True):
            self._addresses[levers] = side[-1].address
            play(side[-1].address, traffic(CASCADE, CALLERS, WARM_SEED))
        return [self._addresses[levers] for levers in wanted]


def launches(folder: Path, levers: Levers, calibration: Path) -> list[Launch]:
    """How to start a side, its decoder last. `folder` keeps its stores and its tiers."""
    encoder_flags = () if levers.caches else services.NO_ROW_STORE
    decoder_flags = () if levers.caches else services.NO_DECODER_CACHES

    def pair(model: Path, *tiers: str) -> tuple[Launch, Launch]:
        own = folder / model.name
        return services.pair(model, own, services.ONE_THREAD, encoder_flags, (*decoder_flags, *tiers))

    if levers.tiers in ((LARGE,), (SMALL,)):
        return [*pair(model_dir() if levers.tiers == (LARGE,) else small_dir())]
    folder.mkdir(parents=True)
    path = folder / "tiers.toml"
    # The small tier runs in the decoder of the large one, with an encoder of its own.
    encoders = [pair(small_dir())[0]] if SMALL in levers.tiers else []
    path.write_text(_tiers(levers, encoders, calibration), encoding="utf-8")
    return [*encoders, *pair(model_dir(), "--tiers", str(path))]


def _tiers(levers: Levers, encoders: Sequence[Launch], calibration: Path) -> str:
    small = {
        "model": str(small_dir()),
        "encoders": [encoder.address for encoder in encoders],
        "calibration": str(calibration),
    }
    kinds = {EXACT: ("exact", {}), SMALL: ("model", small), LARGE: ("model", {})}
    return "\n".join(_table(name=tier, kind=kinds[tier][0], **kinds[tier][1]) for tier in levers.tiers)


def _table(**values: str | list[str]) -> str:
    return "\n".join(["[[tier]]", *(f"{key} = {_quoted(value)}" for key, value in values.items()), ""])


def _quoted(value: str | list[str]) -> str:
    """A TOML literal string, or a list of them: nothing in it is escaped."""
    return f"[{', '.join(map(_quoted, value))}]" if isinstance(value, list) else f"'{value}'"


@dataclass(frozen=True)
class Round:
    """Answers in the order of their requests: right or wrong, and the path of tiers."""

    seconds: float
    right: Bools
    paths: Sequence[tuple[str, ...]]

    @property
    def per_s(self) -> float:
        return len(self.right) / self.seconds

    def reached(self, tier: str) -> Bools:
        return np.array([tier in path for path in self.paths])


def play(address: str, requests: Sequence[Request], callers: int = CALLERS) -> Round:
    """Send all requests, with their files, from a few callers that wait for their answers."""

    with Client(address) as client, ThreadPoolExecutor(callers) as pool:

        def ask(request: Request) -> Answer:
            return client.ask(request.asked.question, [request.file], sampling=SAMPLING)

        begin = perf_counter()
        answers = list(pool.map(ask, requests))
        seconds = perf_counter() - begin
    right = [request.right(answer.text) for request, answer in zip(requests, answers, strict=True)]
    return Round(seconds, np.array(right), [tuple(answer.receipt.tier.path) for answer in answers])


def play_in_turns(
    addresses: dict[str, str], rounds: Sequence[Sequence[Request]], run: Run
) -> dict[str, list[Round]]:
    """Every side plays every round; from round to round their order is reversed."""
    played: dict[str, list[Round]] = {name: [] for name in addresses}
    for turn, requests in enumerate(rounds):
        for name in list(addresses)[:: 1 if turn % 2 else -1]:
            run.status(f"round {turn + 1} of {len(rounds)}: {name}")
            played[name].append(play(addresses[name], requests))
    return played
