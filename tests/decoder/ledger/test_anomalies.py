"""Planted anomalies in heavy-tailed traffic are found within 20 requests, and hardly any alarm is false."""

from __future__ import annotations

import random
from dataclasses import replace

import structlog

from bench.parts.usage import traffic
from decoder_svc.ledger.anomalies import AnomalyWatch, KnownImages
from decoder_svc.ledger.drift import LevelDrift
from fovea.contract.rows import RowOrigin
from fovea.contract.usage import AnomalyKind, Outcome

SEEDS, CALM, WITHIN = 50, 200, 20


def test_every_planted_anomaly_is_found_within_20_requests() -> None:
    late = []
    for seed in range(SEEDS):
        for kind in AnomalyKind:
            dice, watch = random.Random(seed), AnomalyWatch()
            for calm in traffic(dice, CALM):
                watch.watch(calm)
            for odd in traffic(dice, WITHIN, kind):
                watch.watch(odd)
            if not any(each.kind is kind for each in watch.found("acme")):
                late.append((seed, kind))
    assert not late


def test_calm_traffic_raises_at_most_two_alarms_in_10_000_requests() -> None:
    alarms = []
    for seed in range(3):
        watch = AnomalyWatch()
        for calm in traffic(random.Random(seed), 10_000):
            watch.watch(calm)
        alarms.append(sum(watch.counts.values()))
    assert max(alarms) <= 2, alarms


def test_an_anomaly_is_logged_counted_and_kept_for_its_tenant() -> None:
    watch, dice = AnomalyWatch(), random.Random(0)
    for calm in traffic(dice, CALM):
        watch.watch(calm)
    with structlog.testing.capture_logs() as lines:
        for odd in traffic(dice, 3 * WITHIN, AnomalyKind.COST):
            watch.watch(odd)
    assert [line["kind"] for line in lines if line["event"] == "anomaly"] == ["cost"]
    (found,) = watch.found("acme")
    assert (found.kind, found.image_kind, watch.counts[AnomalyKind.COST]) == (AnomalyKind.COST, "PHOTO", 1)
    assert found.value > 2 * found.usual > 0
    assert watch.found("other") == []
    assert watch.found("") == [found]


def test_answers_without_a_model_do_not_change_what_an_image_usually_costs() -> None:
    """A tenant repeats every question; then its images cost five times as much."""
    watch, dice = AnomalyWatch(), random.Random(0)
    for calm in traffic(dice, CALM):
        (image,) = calm.receipt.images
        kept = replace(image, tokens=0, source=RowOrigin.NONE)
        watch.watch(calm)
        watch.watch(replace(calm, outcome=Outcome.OK, receipt=replace(calm.receipt, images=(kept,))))
    assert not watch.counts[AnomalyKind.COST]
    for odd in traffic(dice, WITHIN, AnomalyKind.COST):
        watch.watch(odd)
    assert watch.counts[AnomalyKind.COST] == 1


def test_memory_is_bounded() -> None:
    watch, dice = AnomalyWatch(), random.Random(0)
    for number, each in enumerate(traffic(dice, 3000, AnomalyKind.NEW_IMAGES)):
        watch.watch(replace(each, tenant=f"t{number}"))
    assert len(watch._series) <= 1024


def test_a_few_outliers_raise_no_alarm() -> None:
    """However far out they are."""
    drift = LevelDrift()
    for _ in range(CALM):
        assert not drift.push(40)
    assert not any(drift.push(1e12) for _ in range(3))


def test_a_flood_of_images_makes_no_image_of_another_tenant_new() -> None:
    """Otherwise a tenant's anomalies would tell what others send."""
    known = KnownImages(capacity=100)
    assert all(known.add("acme", str(number)) for number in range(10))
    assert all(known.add("flood", str(number)) for number in range(1000))
    assert not any(known.add("acme", str(number)) for number in range(10))
    assert known.add("flood", "0")
