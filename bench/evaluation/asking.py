"""Every question to the running services: each picture is stored once, then asked about.

Several at a time, as callers would. A call that fails ends the run: an answer that never came is not a wrong
answer. Knows no score.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from bench.evaluation.sheets import VIEWS, Sheet, file_of
from fovea.client import Client, Sampling
from standin.dataset import KINDS

MAX_NEW_TOKENS = 24
"""Room for every right answer (a test holds it); what runs on is wrong anyhow."""

Bools = npt.NDArray[np.bool_]
Heard = Callable[[int], None]


@dataclass
class Tally:
    """Right or wrong by view, kind and row, and what the answers cost. Filled by many threads."""

    per_kind: int
    asks: int = 0
    visual_tokens: int = 0
    output_tokens: int = 0
    digests: set[str] = field(default_factory=set)
    right: dict[str, Bools] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.right = {view: np.zeros((len(KINDS), self.per_kind), np.bool_) for view in VIEWS}

    @property
    def images(self) -> int:
        """Different images; white ones of one size are one image."""
        return len(self.digests)

    def ask_all(self, client: Client, sheet: Sheet, view: str) -> int:
        """Store one picture, ask its questions in turn, note the outcomes. Returns how many were asked."""
        stored = client.put(file_of(sheet.image, view))
        sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS)
        for place, asked in sheet.questions:
            answer = client.ask(asked.question, [stored.facts.digest], sampling=sampling)
            totals = answer.receipt.totals
            with self._lock:
                self.right[view][place.kind, place.row] = answer.text.strip() == asked.answer
                self.asks += 1
                self.visual_tokens += totals.visual_tokens
                self.output_tokens += totals.output_tokens
        with self._lock:
            self.digests.add(stored.facts.digest)
        return len(sheet.questions)


def ask(address: str, sheets: Iterable[Sheet], per_kind: int, concurrency: int, heard: Heard) -> Tally:
    """Ask about every sheet in every view; `heard` hears how many answers came. Raises what a call raises."""
    tally = Tally(per_kind)
    with Client(address) as client, ThreadPoolExecutor(concurrency) as pool:
        jobs = ((sheet, view) for sheet in sheets for view in VIEWS)
        futures = (pool.submit(tally.ask_all, client, sheet, view) for sheet, view in jobs)
        for done in in_flight(futures, 2 * concurrency):
            heard(done)
    return tally


def in_flight(futures: Iterator[Future[int]], most: int) -> Iterator[int]:
    """Results as they come; takes jobs only as fast as they are done, so that pictures do not pile up."""
    waiting = set(islice(futures, most))
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        waiting.update(islice(futures, len(done)))
        yield sum(future.result() for future in done)
