"""Images that become dearer, and sizes with every kind of tail that do not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from decoder_svc.ledger.cost_drift import FACTOR, Cost, CostDrift, Rise
from decoder_svc.ledger.drift import ALARM
from decoder_svc.ledger.known_images import Sight

CALM, WITHIN = 400, 20
TAILS: dict[str, Callable[[random.Random], float]] = {
    "narrow": lambda dice: dice.lognormvariate(6, 0.1),
    "wide": lambda dice: dice.lognormvariate(6, 1.5),
    "Pareto": lambda dice: 50 * dice.paretovariate(0.8),
    "two sizes": lambda dice: 1000 if dice.random() < 0.1 else 64,
    "half and half": lambda dice: 1000 if dice.random() < 0.5 else 64,
    "outliers": lambda dice: 1e6 if dice.random() < 0.05 else dice.lognormvariate(5, 0.6),
}


def size(dice: random.Random) -> int:
    return round(dice.lognormvariate(5, 0.6))


def push(drift: CostDrift, tokens: float, kind: str = "a", before: int | None = None) -> Rise | None:
    """A request with an image that is new, or was sent before and not recently."""
    return drift.push([Cost(kind, round(tokens), None if before is None else Sight(before, 100))])


def warm(dice: random.Random, *kinds: str) -> CostDrift:
    """Log-normal costs of each kind."""
    drift = CostDrift()
    for _ in range(CALM):
        for kind in kinds:
            assert push(drift, size(dice), kind) is None
    return drift


@pytest.mark.long
@pytest.mark.parametrize("tail", TAILS)
def test_no_tail_of_sizes_raises_more_false_alarms_than_lordens_bound(tail: str) -> None:
    """Of the sums within the kind and over all kinds."""
    dice, drift, count = random.Random(tail), CostDrift(), 50_000
    alarms = sum(push(drift, TAILS[tail](dice)) is not None for _ in range(count))
    assert alarms <= 2 * count / math.exp(ALARM)


@pytest.mark.long
@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_a_habit_of_asking_again_with_more_detail_keeps_to_the_bound(share: float) -> None:
    dice, drift, count = random.Random(f"{share}"), CostDrift(), 50_000
    alarms = 0
    for _ in range(count):
        before = size(dice)
        alarms += push(drift, FACTOR * before if dice.random() < share else before, "a", before) is not None
    assert alarms <= 2 * count / math.exp(ALARM)


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.6])
def test_new_images_that_become_dearer_are_found(sigma: float) -> None:
    dice, drift = random.Random(f"{sigma}"), CostDrift()
    assert not any(push(drift, dice.lognormvariate(5, sigma)) for _ in range(CALM))
    assert any(push(drift, FACTOR * dice.lognormvariate(5, sigma)) for _ in range(WITHIN))


def test_three_known_images_that_become_dearer_are_found() -> None:
    """However much sizes differ."""
    dice, drift = random.Random(6), CostDrift()
    for _ in range(CALM):
        before = size(dice)
        assert push(drift, before, "a", before) is None
    rises = [push(drift, FACTOR * before, "a", before) for before in (20, 900, 180)]
    assert rises == [None, None, Rise("a", 180, 900)]


def test_two_known_images_and_a_new_one_are_found() -> None:
    dice = random.Random(7)
    drift = warm(dice, "a")
    for _ in range(CALM):
        push(drift, 100, "a", 100)
    rises = [push(drift, 500, "a", 100), push(drift, FACTOR * math.exp(5)), push(drift, 2000, "a", 400)]
    assert [rise is not None for rise in rises] == [False, False, True]


def test_the_images_of_a_request_count_as_one() -> None:
    """A caller who asks about a whole document with more detail, twice, has changed nothing else."""
    drift = CostDrift()
    for _ in range(CALM):
        push(drift, 100, "a", 100)
    document = [Cost("a", 500, Sight(100, 100))] * 30
    assert [drift.push(document) is not None for _ in range(3)] == [False, False, True]


def test_asking_again_about_a_dearer_image_adds_nothing() -> None:
    drift = CostDrift()
    for _ in range(CALM):
        push(drift, 100, "a", 100)
    assert push(drift, 1000, "a", 100) is None
    assert push(drift, 1000, "a", 100) is None
    assert not any(drift.push([Cost("a", 1000, Sight(1000, 1))]) for _ in range(100))


def test_images_that_cost_what_they_did_speak_against_a_rise() -> None:
    drift = CostDrift()
    for _ in range(CALM):
        push(drift, 100, "a", 100)
    for _ in range(5):
        assert push(drift, 500, "a", 100) is None
        assert not any(push(drift, 100, "a", 100) for _ in range(5))


def test_a_few_outliers_raise_no_alarm() -> None:
    """However far out they are."""
    drift = warm(random.Random(1), "a")
    assert not any(push(drift, 10.0 ** (12 + number)) for number in range(3))


def test_a_batch_of_large_images_of_a_size_is_no_change_of_level() -> None:
    """They say as much as a few images of different sizes, even where all other images are of a size."""
    for sigma in (0.0, 0.6):
        dice, drift = random.Random(2), CostDrift()
        assert not any(push(drift, dice.lognormvariate(5, sigma)) for _ in range(CALM))
        assert not any(push(drift, 1500 * dice.uniform(0.95, 1.05)) for _ in range(10))


def test_images_that_are_always_of_a_size_and_grow_are_found() -> None:
    drift = CostDrift()
    assert not any(push(drift, 400) for _ in range(CALM))
    assert any(push(drift, 2000) for _ in range(WITHIN))


def test_a_kind_that_becomes_dearer_is_found_beside_kinds_that_do_not() -> None:
    """Once: the new level is learned."""
    dice = random.Random(4)
    drift = warm(dice, "a", "b")
    rises = []
    for _ in range(2 * WITHIN):
        rises += [push(drift, FACTOR * size(dice), "a"), push(drift, size(dice), "b")]
    (rise,) = filter(None, rises)
    assert rise.kind == "a"
    assert rise.tokens > rise.usual


def test_evidence_of_all_kinds_adds_up() -> None:
    """Each kind alone has too few images for an alarm."""
    dice, kinds = random.Random(5), "abcde"
    drift = warm(dice, *kinds)
    assert any(push(drift, 20 * size(dice), kind) for _ in range(2) for kind in kinds)


def test_a_rise_of_many_known_images_raises_a_single_alarm() -> None:
    """What they cost before the alarm is no longer usual."""
    drift = CostDrift()
    for _ in range(CALM):
        push(drift, 100, "a", 100)
    assert sum(push(drift, 500, "a", 100) is not None for _ in range(50)) == 1
