"""The threshold reaches the wanted accuracy on answers that it never saw."""

from __future__ import annotations

import random
from statistics import mean

import pytest

from fovea.calibration.threshold import Judged, Measure, choose

ABSOLUTE, RELATIVE = Measure.ABSOLUTE, Measure.RELATIVE


def drawn(count: int, seed: int, reference: float | None = None) -> list[Judged]:
    """Answers that are right as often as their confidence says; those of the reference, always as often."""
    rng = random.Random(seed)
    judged = []
    for _ in range(count):
        sure = rng.betavariate(4, 1)
        right = rng.random() < sure
        by_reference = None if reference is None else rng.random() < reference
        judged.append(Judged(sure, right, by_reference))
    return judged


@pytest.mark.parametrize("wanted", [0.85, 0.9, 0.95])
def test_the_wanted_accuracy_holds_on_unseen_answers(wanted: float) -> None:
    unseen, misses = drawn(20_000, 10**6), 0
    for seed in range(40):
        kept = choose(drawn(1500, seed), wanted, ABSOLUTE)
        assert kept is not None
        others = [each.right for each in unseen if each.confidence >= kept.threshold]
        misses += mean(others) < wanted - 0.01
    assert misses <= 4, "a standard error is exceeded in one of six, and two of them in one of forty"


def test_relative_accuracy_is_that_of_the_reference_on_the_same_questions() -> None:
    """A reference that errs in a tenth lets the tier keep more than an absolute accuracy would."""
    judged = drawn(4000, 1, reference=0.9)
    absolute, relative = choose(judged, 0.99, ABSOLUTE), choose(judged, 0.99, RELATIVE)
    assert relative is not None
    assert relative.right >= 0.99 * relative.reference_right
    assert len(relative.answers) > (len(absolute.answers) if absolute else 0)


def test_a_few_right_answers_prove_nothing() -> None:
    """30 of 30 do not show that an accuracy of 0.95 is reached: an answer of 20 may still be wrong."""
    assert choose([Judged(0.99, True)] * 30, 0.95, ABSOLUTE) is None
    assert choose([Judged(0.99, True)] * 300, 0.95, ABSOLUTE) is not None


def test_answers_of_equal_confidence_are_kept_together_or_not_at_all() -> None:
    judged = [Judged(0.9, True)] * 200 + [Judged(0.5, True)] * 50 + [Judged(0.5, False)] * 50
    kept = choose(judged, 0.95, ABSOLUTE)
    assert kept is not None
    assert (kept.threshold, len(kept.answers)) == (pytest.approx(0.9, abs=1e-5), 200)


def test_the_threshold_leaves_room_for_rounding() -> None:
    """The answers that it was made from are kept again, although the last bits of their confidence differ."""
    judged = [Judged(0.9, True)] * 200 + [Judged(0.9 - 2e-7, False)] * 100
    kept = choose(judged, 0.95, ABSOLUTE)
    assert kept is not None
    assert 0.9 - 2e-7 < kept.threshold < 0.9


def test_without_a_threshold_there_is_none() -> None:
    assert choose([Judged(0.5, False)] * 100, 0.9, ABSOLUTE) is None
    assert choose([], 0.9, ABSOLUTE) is None
