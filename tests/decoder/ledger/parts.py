"""Records for tests."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from decoder_svc.ledger.database import Database
from decoder_svc.ledger.retention import Retention
from decoder_svc.ledger.writer import LedgerWriter
from fovea.contract.image import ImageKind
from fovea.contract.receipt import ImageReceipt, Price, Receipt, Stages, Step, Tier, Totals
from fovea.contract.usage import Outcome, UsageRecord

KEPT = Retention(days=100_000, max_records=1_000_000)
PATIENCE_S = 60.0


def receipt(visual: int = 40, kind: ImageKind = ImageKind.TEXT, **totals: Any) -> Receipt:
    steps = (Step("resize", 100, 60, "max_pixels 1"), Step("flat", 60, 40, "tolerance 0"))
    image = ImageReceipt("sha256:0", (10, 10), (8, 8), (1, 2, 2), 240, 100, visual, steps, kind=kind)
    values = {
        "naive_visual_tokens": 100,
        "text_tokens": 7,
        "output_tokens": 3,
        "wire_bytes": 1 << 33,
        "encodes": 1,
    }
    return Receipt(
        (image,), Totals(visual, **(values | totals)), Stages(queue=1.5, total=20.25), Tier(("small", "large"), "asked"),
        Price(0.5, "EUR", 2.0),
    )  # fmt: skip


def record(**changes: Any) -> UsageRecord:
    values: dict[str, Any] = {
        "id": uuid.uuid4().hex, "request_id": "r", "tenant": "acme", "started": time.time(), "method": "Generate",
        "outcome": Outcome.OK, "model": "m", "receipt": receipt(),
    }  # fmt: skip
    return UsageRecord(**(values | changes))


def writer(database: Database, capacity: int = 10_000, retention: Retention = KEPT) -> LedgerWriter:
    return LedgerWriter(database, retention, capacity)


def until(condition: Callable[[], bool]) -> None:
    """The limit only guards against hanging."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
