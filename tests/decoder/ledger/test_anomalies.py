"""Planted anomalies in heavy-tailed traffic are found within 20 requests, and hardly any alarm is false.

`bench.parts.anomalies` measures the same over 50 seeds.
"""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import chain

import pytest
from structlog.testing import capture_logs

from bench.parts.anomalies import MOST, PLANTED, SEEDS, WITHIN, false_alarms, is_found
from bench.parts.usage import Traffic
from decoder_svc.ledger.anomalies import LEAST_RUNS, AnomalyWatch
from decoder_svc.ledger.drift import RateDrift
from fovea.contract.rows import RowOrigin
from fovea.contract.usage import AnomalyKind

CALM = 200


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_anomalies_are_found_within_20_requests(kind: AnomalyKind) -> None:
    assert [seed for seed in range(4) if not is_found(seed, kind)] == []


@pytest.mark.long
def test_calm_traffic_raises_at_most_two_alarms_in_10_000_requests() -> None:
    assert max(false_alarms(seed) for seed in range(SEEDS, SEEDS + 3)) <= MOST


def test_an_anomaly_is_logged_counted_and_kept_for_its_tenant() -> None:
    watch, traffic = AnomalyWatch(), Traffic(random.Random(0))
    for calm in traffic.calm(2000):
        watch.watch(calm)
    tenant = traffic.tenants[0]
    with capture_logs() as lines:
        for odd in traffic.planted(tenant, AnomalyKind.COST, 2 * WITHIN):
            watch.watch(odd)
    (line,) = [line for line in lines if line["event"] == "anomaly"]
    (found,) = watch.found(tenant.name)
    assert (line["kind"], line["tenant"]) == ("cost", tenant.name)
    assert (found.kind, watch.counts[AnomalyKind.COST]) == (AnomalyKind.COST, 1)
    assert found.image_kind in ("PHOTO", "TEXT", "GRAPHIC")
    assert found.value > found.usual > 0
    assert watch.found("other") == []
    assert watch.found("") == [found]


def test_answers_without_a_model_do_not_change_what_is_usual() -> None:
    """A tenant repeats every question, and no model reads the images again."""
    plain, repeated = AnomalyWatch(), AnomalyWatch()
    traffic = Traffic(random.Random(0))
    tenant = traffic.tenants[0]
    for record in chain(traffic.calm(5000), traffic.planted(tenant, AnomalyKind.NEW_IMAGES, WITHIN)):
        images = [replace(each, tokens=0, source=RowOrigin.NONE) for each in record.receipt.images]
        plain.watch(record)
        repeated.watch(record)
        repeated.watch(replace(record, receipt=replace(record.receipt, images=tuple(images))))
    assert plain.counts[AnomalyKind.NEW_IMAGES]
    for kind in (AnomalyKind.COST, AnomalyKind.NEW_IMAGES, AnomalyKind.MISSES):
        assert plain.counts[kind] == repeated.counts[kind]


def test_memory_is_bounded() -> None:
    watch = AnomalyWatch()
    for number, each in enumerate(Traffic(random.Random(0)).calm(3000)):
        watch.watch(replace(each, tenant=f"t{number}"))
    assert len(watch._series) <= 1024


def test_a_folder_of_new_images_is_no_flood() -> None:
    """However rarely the tenant sends a new image."""
    least = LEAST_RUNS[AnomalyKind.NEW_IMAGES]
    drift = RateDrift(least)
    for _ in range(CALM):
        assert not drift.push(False)
    assert [drift.push(True) for _ in range(least)] == [False] * (least - 1) + [True]
