"""Finds tenants whose use has changed.

Images became much dearer, many more are new, a hit rate has collapsed, or answers run to the limit.
Each series belongs to a tenant, and the cost of images also to their kind. Anomalies are logged, counted, and
kept in memory until the ledger has stored them. Nothing is refused because of them.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from decoder_svc.ledger.drift import LevelDrift, RateDrift
from fovea.contract.rows import RowOrigin
from fovea.contract.usage import Anomaly, AnomalyKind, Outcome, UsageRecord

MAX_SERIES = 1024
MAX_IMAGES = 16_384
"""Image ids that are remembered, of all tenants."""
KEPT = 1000
HITS = (RowOrigin.STORE, RowOrigin.PREFIX)
Series = LevelDrift | RateDrift
S = TypeVar("S", LevelDrift, RateDrift)
log = structlog.get_logger()


class AnomalyWatch:
    """A sink of records. `counts` are alarms by kind, since the start."""

    def __init__(self) -> None:
        self.counts: Counter[AnomalyKind] = Counter()
        self._series: OrderedDict[tuple[AnomalyKind, str, str], Series] = OrderedDict()
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
        images = [image for image in record.receipt.images if image.repeat_of is None]
        read = [image for image in images if image.tokens]  # others were answered without a model
        if read:
            tokens = sum(image.tokens for image in read) / len(read)
            self._push(AnomalyKind.COST, record, LevelDrift, tokens, record.image_kind)
        for image in images:
            is_new = self._images.add(record.tenant, image.digest)
            self._push(AnomalyKind.NEW_IMAGES, record, RateDrift, is_new)
            if image.source is not RowOrigin.NONE:
                self._push(AnomalyKind.MISSES, record, RateDrift, image.source not in HITS)
        if record.outcome in (Outcome.OK, Outcome.LENGTH):
            self._push(AnomalyKind.LENGTH, record, RateDrift, record.outcome is Outcome.LENGTH)

    def _push(
        self,
        kind: AnomalyKind,
        record: UsageRecord,
        make: Callable[[], S],
        value: float,
        image_kind: str = "",
    ) -> None:
        key = kind, record.tenant, image_kind
        series = self._series.setdefault(key, make())
        _touch(self._series, key, MAX_SERIES)
        if not series.push(value):  # type: ignore[arg-type]
            return
        self.note(
            Anomaly(
                kind, record.tenant, time.time(), record.request_id, image_kind, series.usual, float(value)
            )
        )

    def note(self, anomaly: Anomaly) -> None:
        """Keep, count and log an anomaly. That of no tenant is seen by operators only."""
        self._found.append(anomaly)
        if anomaly.kind is not None:
            self.counts[anomaly.kind] += 1
        log.warning("anomaly", **anomaly.as_json())


class KnownImages:
    """The image ids that tenants have sent. A flood of images by a tenant makes none of another's new."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._count = 0
        self._by_tenant: defaultdict[str, OrderedDict[str, None]] = defaultdict(OrderedDict)

    def add(self, tenant: str, digest: str) -> bool:
        """Whether the image is new. Above the capacity, the tenant with the most images loses its oldest."""
        own = self._by_tenant[tenant]
        is_new = digest not in own
        own[digest] = None
        own.move_to_end(digest)
        self._count += is_new
        if self._count > self._capacity:
            max(self._by_tenant.values(), key=len).popitem(last=False)
            self._count -= 1
        return is_new


K = TypeVar("K")
V = TypeVar("V")


def _touch(ordered: OrderedDict[K, V], key: K, capacity: int) -> None:
    """Make a key the last; drop the first above the capacity."""
    ordered.move_to_end(key)
    if len(ordered) > capacity:
        ordered.popitem(last=False)
