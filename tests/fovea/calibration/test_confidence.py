"""Confidence is calibrated by type, and a type without labels has none."""

from __future__ import annotations

import math
import random

import pytest

from fovea.calibration.answers import AnswerType
from fovea.calibration.confidence import (
    LEAST_LABELS,
    LEAST_ODDS,
    MOST_ODDS,
    Labelled,
    Scale,
    confidence,
    fit_scales,
    log_odds,
)

NUMBER, WORD, TEXT = AnswerType.NUMBER, AnswerType.WORD, AnswerType.TEXT


def drawn(kind: AnswerType, truth: Scale, count: int, seed: int = 0) -> list[Labelled]:
    """Labels of a model whose answers are right with the probabilities of `truth`."""
    rng = random.Random(f"{kind}/{seed}")
    odds = [rng.uniform(-4, 8) for _ in range(count)]
    return [Labelled(kind, each, rng.random() < truth.confidence(each)) for each in odds]


def test_an_overconfident_model_is_scaled_to_its_accuracy_type_by_type() -> None:
    truths = {NUMBER: Scale(0.5, -1.0), WORD: Scale(0.9, 0.5)}
    scales = fit_scales([each for kind, truth in truths.items() for each in drawn(kind, truth, 4000)])
    for kind, truth in truths.items():
        for odds in (-2.0, 0.0, 3.0, 6.0):
            assert scales[kind].confidence(odds) == pytest.approx(truth.confidence(odds), abs=0.03)


def test_the_order_of_labels_changes_nothing() -> None:
    labels = drawn(WORD, Scale(0.7, 0.1), 300)
    shuffled = random.Random(1).sample(labels, len(labels))
    first, second = fit_scales(labels)[WORD], fit_scales(shuffled)[WORD]
    assert (first.slope, first.intercept) == pytest.approx((second.slope, second.intercept))


def test_a_type_with_hardly_any_labels_has_no_confidence() -> None:
    labels = drawn(WORD, Scale(), 200) + [Labelled(TEXT, 5.0, True)] * (LEAST_LABELS - 1)
    scales = fit_scales(labels)
    assert TEXT not in scales
    assert confidence(scales, [-0.01], TEXT) == 0.0
    assert confidence(scales, [-0.01], WORD) > 0.5
    assert TEXT in fit_scales([*labels, Labelled(TEXT, 5.0, True)])


def test_a_more_probable_answer_is_never_less_credible() -> None:
    """Labels that say the opposite give a flat scale."""
    labels = [Labelled(WORD, odds / 10, odds < 0) for odds in range(-40, 40)]
    assert fit_scales(labels)[WORD].slope == 0.0


@pytest.mark.parametrize("right", [True, False])
def test_labels_of_one_kind_only_give_a_finite_scale(right: bool) -> None:
    scale = fit_scales([Labelled(WORD, odds / 10, right) for odds in range(100)])[WORD]
    assert math.isfinite(scale.slope)
    assert (scale.confidence(5.0) > 0.9) is right


def test_log_odds_of_short_answers_fall_with_every_token_and_those_of_long_ones_are_a_mean() -> None:
    half = math.log(0.5)
    assert log_odds([half], WORD) == pytest.approx(0.0)
    assert log_odds([half, half], WORD) == pytest.approx(math.log(1 / 3))
    assert log_odds([half, half], TEXT) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ([], LEAST_ODDS),
        ([0.0], MOST_ODDS),
        ([-1e-30], MOST_ODDS),
        ([-math.inf], LEAST_ODDS),
        ([-1e9], LEAST_ODDS),
        ([1e-9], MOST_ODDS),
    ],
)
def test_log_odds_are_bounded(logprobs: list[float], expected: float) -> None:
    assert log_odds(logprobs, WORD) == expected


def test_log_probabilities_that_are_not_numbers_are_least_credible() -> None:
    assert log_odds([math.nan], WORD) == LEAST_ODDS
