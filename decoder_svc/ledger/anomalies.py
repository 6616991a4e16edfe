"""Finds tenants whose use has changed.

Images became much dearer, many more are new, images that were sent before miss, or answers run to the limit.
Each series belongs to a tenant; the cost of images has a level for each of their kinds. Anomalies are logged,
counted, and kept in memory until the ledger has stored them. Nothing is refused because of them.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import structlog

from decoder_svc.ledger.cost_drift import Cost, CostDrift
from decoder_svc.ledger.drift import REPEATED, RateDrift
from decoder_svc.ledger.known_images import KnownImages, Sent
from fovea.contract.receipt import ImageReceipt
from fovea.contract.rows import RowOrigin
from fovea.contract.usage import Anomaly, AnomalyKind, Outcome, UsageRecord

MAX_SERIES = 1024
MAX_IMAGES = 16_384
"""Image ids that are remembered, of all tenants."""
KEPT = 1000
HITS = (RowOrigin.STORE, RowOrigin.PREFIX)
LEAST_RUNS = {AnomalyKind.NEW_IMAGES: 12, AnomalyKind.MISSES: 8, AnomalyKind.LENGTH: 6}
"""Independent events in a row below which nothing is an anomaly. Tenants send folders of new images."""
CONVERSATION = 0.5
"""The weight of an answer that may belong to the conversation of the answer before."""
Series = CostDrift | RateDrift
S = TypeVar("S", CostDrift, RateDrift)
log = structlog.get_logger()


class AnomalyWatch:
    """A sink of records. `counts` are alarms by kind, since the start."""

    def __init__(self) -> None:
        self.counts: Counter[AnomalyKind] = Counter()
        self._series: OrderedDict[tuple[AnomalyKind, str], Series] = OrderedDict()
        self._images = KnownImages(MAX_IMAGES)
        self._found: deque[Anomaly] = deque(maxlen=KEPT)

    def found(self, tenant: str) -> list[Anomaly]:
        """The anomalies of a tenant, newest first; of all tenants if `tenant` is empty."""
        return [each for each in reversed(self._found) if tenant in ("", each.tenant)]

    def forget(self, stored: Sequence[Anomaly]) -> None:
        """Forget anomalies that are stored, the oldest first. Another thread may watch meanwhile."""
        for anomaly in stored:
            if self._found and self._found[0] is anomaly:
                self._found.popleft()

    def watch(self, record: UsageRecord) -> None:
        """Only answers and images that were prepared say something about a tenant's use."""
        # Images without tokens were answered without a model.
        own = (each for each in record.receipt.images if each.repeat_of is None and each.tokens)
        images = list({image.digest: image for image in own}.values())
        weight = CONVERSATION
        if images:
            sent = self._images.add(record.tenant, images)
            weight = CONVERSATION if sent.asks_again or sent.is_page else 1.0
            self._watch_images(record, images, sent)
        if record.outcome in (Outcome.OK, Outcome.LENGTH):
            self._push_event(AnomalyKind.LENGTH, record, record.outcome is Outcome.LENGTH, weight)

    def _watch_images(self, record: UsageRecord, images: Sequence[ImageReceipt], sent: Sent) -> None:
        costs = [Cost(image.kind.value, image.tokens, sent.seen[image.digest]) for image in images]
        rise = self._of(AnomalyKind.COST, record.tenant, CostDrift).push(costs)
        if rise is not None:
            self._note(AnomalyKind.COST, record, rise.kind, rise.usual, rise.tokens)
        weight = REPEATED if sent.is_page else 1.0
        self._push_event(AnomalyKind.NEW_IMAGES, record, None in sent.seen.values(), weight)
        for image in images:
            # A new image has no rows that could be hit.
            if sent.seen[image.digest] is not None and image.source is not RowOrigin.NONE:
                self._push_event(AnomalyKind.MISSES, record, image.source not in HITS)

    def _push_event(self, kind: AnomalyKind, record: UsageRecord, event: bool, weight: float = 1.0) -> None:
        series = self._of(kind, record.tenant, partial(RateDrift, LEAST_RUNS[kind]))
        if series.push(event, weight):
            self._note(kind, record, "", series.usual, float(event))

    def _of(self, kind: AnomalyKind, tenant: str, make: Callable[[], S]) -> S:
        """The series, as the latest used. Above MAX_SERIES, the series unused for longest is forgotten."""
        key = kind, tenant
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = make()
            if len(self._series) > MAX_SERIES:
                self._series.popitem(last=False)
        self._series.move_to_end(key)
        return series  # type: ignore[return-value]

    def _note(
        self, kind: AnomalyKind, record: UsageRecord, image_kind: str, usual: float, value: float
    ) -> None:
        self.note(Anomaly(kind, record.tenant, time.time(), record.request_id, image_kind, usual, value))

    def note(self, anomaly: Anomaly) -> None:
        """Keep, count and log an anomaly. That of no tenant is seen by operators only."""
        self._found.append(anomaly)
        if anomaly.kind is not None:
            self.counts[anomaly.kind] += 1
        log.warning("anomaly", **anomaly.as_json())
