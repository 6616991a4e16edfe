"""The sides of `bench.cascade`: services with some levers on, and a round of requests against one of them.

Each side has encoders and a decoder of its own, so that no side warms another's store.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import grpc
import numpy as np

from bench import services
from bench.evaluation.asking import MAX_NEW_TOKENS, Bools
from bench.runner import Run
from bench.services import Services
from bench.tiers.traffic import CASCADE, Request, traffic
from fovea.cli.children import Launch
from fovea.client import Answer, Client, Sampling
from fovea.contract.errors import FoveaError
from standin import model_dir, small_dir

EXACT, SMALL, LARGE = "exact", "small", "large"
"""The tiers, as receipts name them."""
SAMPLING = Sampling(max_new_tokens=MAX_NEW_TOKENS)
CALLERS = 16
WARM_SEED = 900
"""Of the traffic before the first round; no round has it."""
CALIBRATE_S = 900.0


Table = dict[str, str | list[str]]


class CalibrationFailed(FoveaError):
    """`fovea calibrate` ended with an error, which the message is."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CALIBRATION_FAILED"


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


BOTH = Levers(False, (SMALL, LARGE))
"""The model cascade alone."""


class Sides:
    """The sides of a run. A side starts when it is first asked for, and runs until the bench ends."""

    def __init__(self, run: Run) -> None:
        self.calibration = run.folder / "small.json"
        self._run = run
        self._addresses: dict[Levers, str] = {}

    def of(self, *wanted: Levers) -> list[str]:
        """The decoders' addresses. All services that do not run yet start at the same time."""
        new = [levers for levers in wanted if levers not in self._addresses]
        launched = [self._launches(number, levers) for number, levers in enumerate(new)]
        if new:
            self._run.status(f"starting {len(new)} sides")
            self._run.start(*(launch for side in launched for launch in side))
        for levers, side in zip(new, launched, strict=True):
            self._ready(levers, side[-1].address)
        return [self._addresses[levers] for levers in wanted]

    def calibrate(self, questions: Path, accuracy: float) -> None:
        """Start the cascade, calibrate its small tier, and start its decoder again with the calibration."""
        self._run.status("calibrating the small tier")
        launched = launches(self._run.folder / "cascade", BOTH)
        running = self._run.start(*launched)
        decoder = launched[-1].address
        command = [sys.executable, "-m", "fovea.cli", "calibrate", str(questions), "--tier", SMALL]
        command += ["--out", str(self.calibration), "--accuracy", str(accuracy), "--decoder", decoder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CALIBRATE_S, check=False)
        if done.returncode:
            raise CalibrationFailed(done.stderr.strip())
        write_tiers(self._run.folder / "cascade", BOTH, [launched[0].address], self.calibration)
        again = running.children.restart(running.running[-1], launched[-1])
        Services(running.children, [*running.running[:-1], again]).ready()
        self._ready(BOTH, decoder)

    def _launches(self, number: int, levers: Levers) -> list[Launch]:
        folder = self._run.folder / f"side-{len(self._addresses) + number}"
        return launches(folder, levers, self.calibration)

    def _ready(self, levers: Levers, address: str) -> None:
        """The first requests load what later ones find loaded; they are not measured."""
        play(address, traffic(CASCADE, CALLERS, WARM_SEED))
        self._addresses[levers] = address


def launches(folder: Path, levers: Levers, calibration: Path | None = None) -> list[Launch]:
    """How to start a side, its decoder last. `folder` keeps its stores and its tiers."""
    encoder_flags = () if levers.caches else services.NO_ROW_STORE
    decoder_flags = () if levers.caches else services.NO_DECODER_CACHES

    def pair(model: Path, *tiers: str) -> tuple[Launch, Launch]:
        own = folder / model.name
        return services.pair(model, own, services.ONE_THREAD, encoder_flags, (*decoder_flags, *tiers))

    if len(levers.tiers) == 1:
        return [*pair({LARGE: model_dir(), SMALL: small_dir()}[levers.tiers[0]])]
    # The small tier runs in the decoder of the large one, with an encoder of its own.
    encoders = [pair(small_dir())[0]] if SMALL in levers.tiers else []
    tiers = write_tiers(folder, levers, [encoder.address for encoder in encoders], calibration)
    return [*encoders, *pair(model_dir(), "--tiers", str(tiers))]


def write_tiers(folder: Path, levers: Levers, encoders: list[str], calibration: Path | None) -> Path:
    """The tiers file. A busy machine times a tier badly, so that a tier that seems too dear only warns."""
    small: dict[str, str | list[str]] = {
        "model": str(small_dir()),
        "encoders": encoders,
        "break_even": "warn",
    }
    if calibration is not None:
        small["calibration"] = str(calibration)
    own: dict[str, dict[str, str | list[str]]] = {
        EXACT: {"kind": "exact"},
        SMALL: {"kind": "model", **small},
        LARGE: {"kind": "model"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiers.toml"
    path.write_text("\n".join(_table(name=tier, **own[tier]) for tier in levers.tiers), encoding="utf-8")
    return path


def _table(**values: str | list[str]) -> str:
    """Strings and lists of strings are written alike in TOML and in JSON."""
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return "\n".join(["[[tier]]", *lines, ""])


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
