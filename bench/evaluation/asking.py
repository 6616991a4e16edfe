"""Sends every question under every policy to running services, and records right answers and tokens.

Each view of a picture is stored once, before its questions. Several questions run concurrently, as with real
callers. A failed call ends the run: a missing answer is not a wrong answer. Independent of scores.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.evaluation.sheets import Sheet, file_of
from fovea.client import Budget, Client, Sampling
from standin import model_dir
from standin.dataset import KINDS

MAX_NEW_TOKENS = 24
"""Room for every right answer (a test holds it); a longer answer is wrong anyway."""

CONCURRENCY = 16
"""Questions at a time."""
LINE_S = 30.0

Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Policy:
    """A way of asking: what the client sends of the picture, and the budget."""

    name: str
    budget: Budget = field(default_factory=Budget)
    view: str = "native"


@dataclass
class Outcomes:
    """Right or wrong and visual tokens by policy, (kinds, rows), and totals. Filled by many threads."""

    per_kind: int
    right: dict[str, Bools] = field(default_factory=dict)
    tokens: dict[str, Counts] = field(default_factory=dict)
    asks: int = 0
    output_tokens: int = 0
    digests: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def images(self) -> int:
        """Distinct images; blank images of a size are the same image."""
        return len(self.digests)

    @property
    def visual_tokens(self) -> int:
        return sum(int(tokens.sum()) for tokens in self.tokens.values())

    def expect(self, policies: Iterable[Policy]) -> None:
        """Make room for the outcomes of policies."""
        for policy in policies:
            self.right[policy.name] = np.zeros((len(KINDS), self.per_kind), np.bool_)
            self.tokens[policy.name] = np.zeros((len(KINDS), self.per_kind), np.int64)

    def of_rows(self, rows: Sequence[int]) -> Outcomes:
        """The right answers and the tokens of some rows."""
        right = {name: right[:, rows] for name, right in self.right.items()}
        return Outcomes(len(rows), right, {name: tokens[:, rows] for name, tokens in self.tokens.items()})

    def ask_all(self, client: Client, sheet: Sheet, policies: Sequence[Policy]) -> int:
        """Store a picture and ask all its questions under policies of the same view. Returns their number."""
        place, _ = sheet.questions[0]
        digest = client.put(file_of(sheet.image, policies[0].view, place.row)).facts.digest
        sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS)
        for policy in policies:
            for place, item in sheet.questions:
                answer = client.ask(item.question, [digest], budget=policy.budget, sampling=sampling)
                totals = answer.receipt.totals
                with self._lock:
                    self.right[policy.name][place.kind, place.row] = answer.text.strip() == item.answer
                    self.tokens[policy.name][place.kind, place.row] = totals.visual_tokens
                    self.asks += 1
                    self.output_tokens += totals.output_tokens
        with self._lock:
            self.digests.add(digest)
        return len(sheet.questions) * len(policies)


def ask(
    address: str,
    sheets: Iterable[Sheet],
    groups: Sequence[Sequence[Policy]],
    outcomes: Outcomes,
    concurrency: int = CONCURRENCY,
    status: Callable[[str], object] = lambda text: None,
) -> None:
    """Ask about every sheet under every group of policies, each group of a single view, into `outcomes`.

    Raises what a call raises.
    """
    for group in groups:
        outcomes.expect(group)
    progress = _Progress(outcomes.per_kind * len(KINDS) * sum(map(len, groups)), status)
    with Client(address) as client, ThreadPoolExecutor(concurrency) as pool:
        jobs = ((sheet, group) for sheet in sheets for group in groups)
        futures = (pool.submit(outcomes.ask_all, client, sheet, group) for sheet, group in jobs)
        for count in _in_flight(futures, 2 * concurrency):
            progress.add(count)


def _in_flight(futures: Iterator[Future[int]], most: int) -> Iterator[int]:
    """Results as they come. Jobs are drawn only as fast as they finish, so that pictures do not pile up."""
    waiting = set(islice(futures, most))
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        waiting.update(islice(futures, len(done)))
        yield sum(future.result() for future in done)


class _Progress:
    """How many answers have come: in the status line of a terminal, and every half minute in a log."""

    def __init__(self, total: int, status: Callable[[str], object]) -> None:
        self._total, self._status, self._done = total, status, 0
        self._begin = self._logged = time.monotonic()

    def add(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        text = f"asked {self._done} of {self._total}, {self._done / max(1e-9, now - self._begin):.1f}/s"
        self._status(text)
        if not sys.stderr.isatty() and (now - self._logged >= LINE_S or self._done == self._total):
            print(text, file=sys.stderr, flush=True)
            self._logged = now


def add_flags(parser: argparse.ArgumentParser, per_kind: int) -> None:
    """The options of benches that ask held-out questions; `per_kind` is the default of a full run."""
    parser.add_argument("--per-kind", type=_two_or_more, help=f"questions of each kind [default {per_kind}]")
    parser.add_argument("--model", type=Path, default=model_dir(), help="checkpoint [default the stand-in]")


def _two_or_more(text: str) -> int:
    if (count := int(text)) < 2:
        raise argparse.ArgumentTypeError("must be at least 2: a single answer has no bounds")
    return count
