"""Heavy-tailed traffic of a tenant, as usage records, with or without a planted anomaly."""

from __future__ import annotations

import random
from collections.abc import Iterator

from fovea.contract.image import ImageKind
from fovea.contract.receipt import ImageReceipt, Receipt, Stages, Totals
from fovea.contract.rows import RowOrigin
from fovea.contract.usage import AnomalyKind, Outcome, UsageRecord

TENANT = "acme"


def traffic(dice: random.Random, count: int, planted: AnomalyKind | None = None) -> Iterator[UsageRecord]:
    """Requests with an image. Sizes are log-normal, and one in twenty is far out on a Pareto tail."""
    for number in range(count):
        tokens = 40 * dice.lognormvariate(2, 0.6) * (dice.paretovariate(1.2) if dice.random() < 0.05 else 1)
        tokens *= 5 if planted is AnomalyKind.COST else 1
        is_new = dice.random() < (0.95 if planted is AnomalyKind.NEW_IMAGES else 0.2)
        is_hit = dice.random() < (0.0 if planted is AnomalyKind.MISSES else 0.7)
        is_cut = dice.random() < (0.95 if planted is AnomalyKind.LENGTH else 0.1)
        image = ImageReceipt(
            f"sha256:{dice.random()}" if is_new else f"sha256:{number % 2}", (1, 1), (1, 1), (1, 2, 2), 4, 1,
            int(tokens), kind=ImageKind.PHOTO, source=RowOrigin.STORE if is_hit else RowOrigin.ENCODED,
        )  # fmt: skip
        outcome, id = Outcome.LENGTH if is_cut else Outcome.OK, str(number)
        receipt = Receipt((image,), Totals(), Stages())
        yield UsageRecord(id, id, TENANT, 0.0, "Generate", outcome, "m", receipt)
