"""The sides of `bench.cascade`: services with some levers on, and a round of requests against one of them.

Each side has encoders and a decoder of its own, so that no side warms another's store.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import perf_counter

import numpy as np

from bench import services
from bench.evaluation.asking import MAX_NEW_TOKENS, Bools
from bench.runner import Run
from bench.tiers.traffic import Request
from fovea.cli.children import Launch
from fovea.client import Answer, Client, Sampling
from standin import model_dir, small_dir

LARGE, SMALL = "large", "small"
"""The names of the model tiers on receipts."""
SAMPLING = Sampling(max_new_tokens=MAX_NEW_TOKENS)
CALLERS = 16


@dataclass(frozen=True)
class Levers:
    """What a side uses beside the large model.

    `caches` are the encoder's rows, and the decoder's rows and KV; `exact` and `small` are tiers.
    """

    caches: bool = True
    exact: bool = True
    small: bool = True

    def without(self, lever: str) -> Levers:
        return replace(self, **{lever: False})


ALL = Levers()
NONE = Levers(caches=False, exact=False, small=False)
NAMES = tuple(lever.name for lever in fields(Levers))


def launches(folder: Path, levers: Levers, calibration: Path) -> list[Launch]:
    """How to start a side, its decoder last. `folder` keeps its stores and its tiers."""
    encoder_flags = () if levers.caches else services.NO_ROW_STORE
    decoder_flags = () if levers.caches else services.NO_DECODER_CACHES
    encoders = []
    if levers.small:
        # The decoder of this pair is not started.
        encoders.append(services.pair(small_dir(), folder / SMALL, services.ONE_THREAD, encoder_flags)[0])
    if levers.small or levers.exact:
        path = folder / "tiers.toml"
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(_tiers(levers, encoders, calibration), encoding="utf-8")
        decoder_flags = (*decoder_flags, "--tiers", str(path))
    large = services.pair(model_dir(), folder / LARGE, services.ONE_THREAD, encoder_flags, decoder_flags)
    return [*encoders, *large]


def _tiers(levers: Levers, encoders: Sequence[Launch], calibration: Path) -> str:
    tables = []
    if levers.exact:
        tables.append(_table(name="exact", kind="exact"))
    if levers.small:
        addresses = [encoder.address for encoder in encoders]
        small = {"model": str(small_dir()), "encoders": addresses, "calibration": str(calibration)}
        tables.append(_table(name=SMALL, kind="model", **small))
    return "\n".join([*tables, _table(name=LARGE, kind="model")])


def _table(**values: str | list[str]) -> str:
    return "\n".join(["[[tier]]", *(f"{key} = {_quoted(value)}" for key, value in values.items()), ""])


def _quoted(value: str | list[str]) -> str:
    """A TOML literal string, or a list of them: nothing in it is escaped."""
    return f"[{', '.join(map(_quoted, value))}]" if isinstance(value, list) else f"'{value}'"


def start(run: Run, launched: Sequence[Launch]) -> str:
    """The address of the decoder, when all services are ready."""
    run.start(*launched)
    return launched[-1].address


@dataclass(frozen=True)
class Round:
    """Answers in the order of their requests."""

    seconds: float
    right: Bools
    paths: Sequence[tuple[str, ...]]

    @property
    def per_s(self) -> float:
        return len(self.right) / self.seconds

    def share_of(self, tier: str) -> float:
        """The share of the requests that reached a tier."""
        return sum(tier in path for path in self.paths) / len(self.paths)


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
