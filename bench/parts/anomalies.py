"""How many planted anomalies the decoder's watch finds in heavy-tailed traffic, and how often it is wrong.

- `anomalies_found`: the share of anomalies that are found within 20 requests of their tenant, of every kind
  in the traffic of 50 seeds.
- `false_alarms`: the most alarms in 10,000 calm requests, of 50 other seeds.

The alarms follow from a bound, see `decoder_svc/ledger/drift.py`. Weights and warm-ups were chosen on seeds
from TUNING on, never on these.
"""

from __future__ import annotations

import random
from statistics import mean

from bench import bounds
from bench.parts.usage import Traffic
from bench.result import Measure
from decoder_svc.ledger.anomalies import AnomalyWatch
from fovea.contract.usage import AnomalyKind

SEEDS, TUNING = 50, 1000
CALM, WITHIN = 5000, 20
LONG, MOST = 10_000, 2
PLANTED = (AnomalyKind.COST, AnomalyKind.NEW_IMAGES, AnomalyKind.MISSES, AnomalyKind.LENGTH)


def measures(seeds: int = SEEDS) -> dict[str, Measure]:
    found = [is_found(seed, kind) for kind in PLANTED for seed in range(seeds)]
    alarms = [false_alarms(seed) for seed in range(seeds, 2 * seeds)]
    return {
        "anomalies_found": Measure.of("share", bounds.share(sum(found), len(found)), 1.0),
        "false_alarms": Measure("count", max(alarms), seeds, min(alarms), max(alarms), MOST, "at most"),
        "false_alarms_mean": Measure("count", mean(alarms), seeds),
    }


def is_found(seed: int, kind: AnomalyKind) -> bool:
    """Whether an anomaly of a tenant is found in time, after calm traffic."""
    dice, watch = random.Random(f"{seed} {kind}"), AnomalyWatch()
    traffic = Traffic(dice)
    for record in traffic.calm(CALM):
        watch.watch(record)
    tenant = traffic.tenants[seed % len(traffic.tenants)]
    before = watch.found(tenant.name)
    for record in traffic.planted(tenant, kind, WITHIN):
        watch.watch(record)
    fresh = watch.found(tenant.name)[: -len(before) or None]
    return any(each.kind is kind for each in fresh)


def false_alarms(seed: int, count: int = LONG) -> int:
    watch = AnomalyWatch()
    for record in Traffic(random.Random(seed)).calm(count):
        watch.watch(record)
    return watch.counts.total()
