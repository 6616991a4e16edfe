"""Finds tenants whose use has changed.

Images became much dearer, many more are new, images that were sent before miss, or answers run to the limit.
Each series belongs to a tenant; the cost of images has a level for each of their kinds. Anomalies are logged,
counted, and kept in memory until the ledger has stored them. Nothing is refused because of them.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import structlog

from decoder_svc.ledger.drift import LevelDrift, RateDrift
from fovea.contract.receipt import ImageReceipt
from fovea.contract.rows import RowOrigin
from fovea.contract.usage import Anomaly, AnomalyKind, Outcome, UsageRecord

MAX_SERIES = 1024
MAX_IMAGES = 16_384
"""Image ids that are remembered, of all tenants."""
KEPT = 1000
HITS = (RowOrigin.STORE, RowOrigin.PREFIX)
LEAST_RUNS = {AnomalyKind.NEW_IMAGES: 18, AnomalyKind.MISSES: 10, AnomalyKind.LENGTH: 10}
"""Requests or images in a row below which nothing is an anomaly. Tenants send folders of new images."""
Series = LevelDrift | RateDrift
S = TypeVar("S", LevelDrift, RateDrift)
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
        distinct = [image for image in record.receipt.images if image.repeat_of is None]
        # Images without tokens were answered without a model.
        are_new = [self._watch_image(record, image) for image in distinct if image.tokens]
        if are_new:
            self._push_event(AnomalyKind.NEW_IMAGES, record, any(are_new))
        if record.outcome in (Outcome.OK, Outcome.LENGTH):
            self._push_event(AnomalyKind.LENGTH, record, record.outcome is Outcome.LENGTH)

    def _watch_image(self, record: UsageRecord, image: ImageReceipt) -> bool:
        """Whether the image is new."""
        kind, before = image.kind.value, self._images.add(record.tenant, image.digest, image.tokens)
        cost = self._of(AnomalyKind.COST, record.tenant, LevelDrift)
        if cost.push(image.tokens, kind, before):
            self._note(AnomalyKind.COST, record, kind, cost.usual, image.tokens)
        if before is not None and image.source is not RowOrigin.NONE:
            # A new image has no rows that could be hit.
            self._push_event(AnomalyKind.MISSES, record, image.source not in HITS)
        return before is None

    def _push_event(self, kind: AnomalyKind, record: UsageRecord, event: bool) -> None:
        series = self._of(kind, record.tenant, partial(RateDrift, LEAST_RUNS[kind]))
        if series.push(event):
            self._note(kind, record, "", series.usual, float(event))

    def _of(self, kind: AnomalyKind, tenant: str, make: Callable[[], S]) -> S:
        key = kind, tenant
        series = self._series.setdefault(key, make())
        _touch(self._series, key, MAX_SERIES)
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


class KnownImages:
    """The image ids that tenants have sent, with their tokens. A flood of images by a tenant makes none of
    another's new.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._count = 0
        self._by_tenant: defaultdict[str, OrderedDict[str, int]] = defaultdict(OrderedDict)

    def add(self, tenant: str, digest: str, tokens: int) -> int | None:
        """The tokens that the image had last, None if it is new. Above the capacity, the tenant with the most
        images loses its oldest.
        """
        own = self._by_tenant[tenant]
        before = own.get(digest)
        own[digest] = tokens
        own.move_to_end(digest)
        self._count += before is None
        if self._count > self._capacity:
            max(self._by_tenant.values(), key=len).popitem(last=False)
            self._count -= 1
        return before


K = TypeVar("K")
V = TypeVar("V")


def _touch(ordered: OrderedDict[K, V], key: K, capacity: int) -> None:
    """Make a key the last; drop the first above the capacity."""
    ordered.move_to_end(key)
    if len(ordered) > capacity:
        ordered.popitem(last=False)
