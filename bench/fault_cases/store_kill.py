"""kill -9 of the only encoder in bursts of writes: no wrong row afterwards, and it is warm again.

The store is too small for all pictures, so every round encodes, evicts and writes.
"""

from __future__ import annotations

import random
import threading
import time

from bench.fault_cases.stored_encoder import Pictures, StoredEncoder, Tally, ask_until_it_ends
from bench.host import side
from bench.result import Measure, Result, medians
from bench.runner import Run

KILLS, PICTURES = 100, 60
QUICK_KILLS, QUICK_PICTURES = 3, 12
BURST_S = 2.0
# Of a picture: 64 rows of 1 KiB, and a page for its header.
PICTURE_BYTES = 68 * 1024


def measure(run: Run) -> Result:
    kills, count = run.effort((KILLS, PICTURES), (QUICK_KILLS, QUICK_PICTURES))
    run.status("computing the rows without a store")
    pictures = Pictures(run.seed, count, run.folder / "reference")
    capacity = int(count * PICTURE_BYTES * 0.8)
    encoder = StoredEncoder(run.folder / "store", ("--cache-bytes", str(capacity)))
    rng, burst, after, warm, seconds = random.Random(run.seed), Tally(), Tally(), 0, list[float]()
    try:
        encoder.start()
        for number in range(kills):
            run.status(f"kill {number + 1} of {kills}")
            _kill_in_a_burst(encoder, pictures, burst, rng.uniform(0.2, BURST_S))
            seconds.append(encoder.start().seconds)
            before = after.stored
            pictures.ask_all(encoder, after)
            warm += after.stored > before
    finally:
        encoder.kill()
    measures = {
        "wrong_rows": Measure(
            "rows", burst.wrong + after.wrong, burst.calls + after.calls, target=0, sense="at most"
        ),
        "hangs": Measure(
            "calls", burst.hangs + after.hangs, burst.calls + after.calls, target=0, sense="at most"
        ),
        "failed_calls": Measure("calls", sum(after.failed.values()), after.calls, target=0, sense="at most"),
        "warm": Measure("of starts", warm / kills, kills, target=1),
        **medians("s", {"start_s": seconds}, run.seed),
    }
    return Result(
        {"kills": kills, "pictures": count},
        {"ours": side("fovea", served_from_store=after.stored)},
        measures,
        facts=(f"{kills} kills",),
        notes=tuple(f"after the kill: {why} {n} times" for why, n in after.failed.items()),
    )


def _kill_in_a_burst(encoder: StoredEncoder, pictures: Pictures, tally: Tally, after_s: float) -> None:
    burst = threading.Thread(target=ask_until_it_ends, args=(pictures, encoder, tally))
    burst.start()
    time.sleep(after_s)
    encoder.kill()
    burst.join()
