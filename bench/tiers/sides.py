"""The sides of `bench.cascade`: services with some levers on, and a round of requests against one of them.

A side with caches has encoders of its own, so that no side warms another's store.
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
MODELS = {SMALL: small_dir(), LARGE: model_dir()}
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
        self._encoders: dict[tuple[Path, Levers | None], Launch] = {}
        self._addresses: dict[Levers, str] = {}

    def of(self, *wanted: Levers) -> list[str]:
        """The decoders' addresses. All services that do not run yet start at the same time."""
        new = [levers for levers in wanted if levers not in self._addresses]
        launched = [self.launches(self._folder(number), levers) for number, levers in enumerate(new)]
        if new:
            self._run.status(f"starting {len(new)} sides")
            self._run.start(*(launch for side in launched for launch in side))
        for levers, side in zip(new, launched, strict=True):
            self._ready(levers, side[-1].address)
        return [self._addresses[levers] for levers in wanted]

    def calibrate(self, questions: Path, accuracy: float) -> None:
        """Start the cascade, calibrate its small tier, and start its decoder again with the calibration."""
        self._run.status("calibrating the small tier")
        folder = self._folder()
        launched = self.launches(folder, BOTH)
        running = self._run.start(*launched)
        decoder = launched[-1].address
        command = [sys.executable, "-m", "fovea.cli", "calibrate", str(questions), "--tier", SMALL]
        command += ["--out", str(self.calibration), "--accuracy", str(accuracy), "--decoder", decoder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=CALIBRATE_S, check=False)
        if done.returncode:
            raise CalibrationFailed(done.stderr.strip())
        self._write_tiers(folder, BOTH)
        again = running.children.restart(running.running[-1], launched[-1])
        Services(running.children, [*running.running[:-1], again]).ready()
        self._ready(BOTH, decoder)

    def launches(self, folder: Path, levers: Levers) -> list[Launch]:
        """How to start a side: the encoders that do not run yet, then its decoder."""
        known = {encoder.address for encoder in self._encoders.values()}
        models = [MODELS[tier] for tier in reversed(levers.tiers) if tier in MODELS]
        encoders = [self._encoder(folder, model, levers) for model in models]
        flags = () if levers.caches else services.NO_DECODER_CACHES
        if len(levers.tiers) > 1:
            flags = (*flags, "--tiers", str(self._write_tiers(folder, levers)))
        _, decoder = services.pair(
            models[0], folder, services.ONE_THREAD, decoder_flags=flags, encoder=encoders[0].address
        )
        return [*(encoder for encoder in encoders if encoder.address not in known), decoder]

    def _encoder(self, folder: Path, model: Path, levers: Levers) -> Launch:
        """The encoder of a side. Sides without caches share it, because it keeps no rows."""
        key = model, levers if levers.caches else None
        if key not in self._encoders:
            flags = () if levers.caches else services.NO_ROW_STORE
            pair = services.pair(model, folder / model.name, services.ONE_THREAD, encoder_flags=flags)
            self._encoders[key] = pair[0]
        return self._encoders[key]

    def _folder(self, number: int = 0) -> Path:
        return self._run.folder / f"side-{len(self._addresses) + number}"

    def _write_tiers(self, folder: Path, levers: Levers) -> Path:
        calibration = self.calibration if self.calibration.exists() else None
        encoder = self._encoder(folder, small_dir(), levers).address if SMALL in levers.tiers else ""
        return write_tiers(folder, levers, encoder, calibration)

    def _ready(self, levers: Levers, address: str) -> None:
        """The first requests load what later ones find loaded; they are not measured."""
        play(address, traffic(CASCADE, CALLERS, WARM_SEED))
        self._addresses[levers] = address


def write_tiers(folder: Path, levers: Levers, encoder: str, calibration: Path | None) -> Path:
    """The tiers file; `encoder` is that of the small tier, which is in the decoder of the large one.

    A busy machine times a tier badly, so that a tier that seems too dear only warns.
    """
    small: Table = {"model": str(small_dir()), "encoders": [encoder], "break_even": "warn"}
    if calibration is not None:
        small["calibration"] = str(calibration)
    own: dict[str, Table] = {
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
