"""Every question under every policy, to running services: what was right, and how many visual tokens it took.

Each picture is stored once a view, then asked about, several at a time as callers would. A call that fails
ends the run: an answer that never came is not a wrong answer. Knows no score.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.economics.policies import Policy
from bench.economics.views import file_of
from bench.evaluation.asking import MAX_NEW_TOKENS, in_flight
from bench.evaluation.sheets import Sheet
from fovea.client import Client, Sampling
from standin.dataset import KINDS

Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


@dataclass
class Outcomes:
    """By policy (kinds, rows): right or wrong, visual tokens, and those at the checkpoint's own limits."""

    per_kind: int
    right: dict[str, Bools] = field(default_factory=dict)
    tokens: dict[str, Counts] = field(default_factory=dict)
    asks: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, policies: Iterable[Policy]) -> None:
        for policy in policies:
            self.right[policy.name] = np.zeros((len(KINDS), self.per_kind), np.bool_)
            self.tokens[policy.name] = np.zeros((len(KINDS), self.per_kind), np.int64)

    def ask_all(self, client: Client, sheet: Sheet, policies: Sequence[Policy]) -> int:
        """One picture, all its questions under policies of one view. Returns how many were asked."""
        view = policies[0].view
        stored = client.put(file_of(sheet.image, view, sheet.questions[0][0].row))
        for policy in policies:
            for place, asked in sheet.questions:
                answer = client.ask(
                    asked.question,
                    [stored.facts.digest],
                    budget=policy.budget,
                    sampling=Sampling(max_new_tokens=MAX_NEW_TOKENS),
                )
                with self._lock:
                    self.right[policy.name][place.kind, place.row] = answer.text.strip() == asked.answer
                    self.tokens[policy.name][place.kind, place.row] = answer.receipt.totals.visual_tokens
                    self.asks += 1
        return len(sheet.questions) * len(policies)


def ask(
    address: str,
    sheets: Iterable[Sheet],
    groups: Sequence[Sequence[Policy]],
    outcomes: Outcomes,
    concurrency: int,
    heard: Callable[[int], None],
) -> None:
    """Ask about every sheet under every group of policies, each group of one view, into `outcomes`."""
    for group in groups:
        outcomes.expect(group)
    with Client(address) as client, ThreadPoolExecutor(concurrency) as pool:
        jobs = ((sheet, group) for sheet in sheets for group in groups)
        futures = (pool.submit(outcomes.ask_all, client, sheet, group) for sheet, group in jobs)
        for done in in_flight(futures, 2 * concurrency):
            heard(done)
