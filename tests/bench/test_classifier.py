"""The classifier sees what tells the members of pairs apart, and nothing where nothing does."""

from __future__ import annotations

import numpy as np
import pytest

from bench.fault_cases import classifier
from bench.fault_cases.classifier import Floats
from bench.fault_cases.pairs import SOURCE, Pair

PAIRS, FIGURES = 400, 60


def noise(seed: int) -> Floats:
    """Figures with the outliers of times."""
    return np.random.default_rng(seed).standard_t(2, (PAIRS, FIGURES))


@pytest.mark.parametrize("seed", range(3))
def test_noise_is_chance(seed: int) -> None:
    told = classifier.auc(noise(seed), seed)
    assert 0.4 < told.value < 0.6
    assert told.lower < 0.5 < told.upper
    assert classifier.best_figure(noise(seed))[1] < 0.6


def test_a_figure_that_tells_alone_is_seen_and_named() -> None:
    differences = noise(0)
    differences[:, 7] -= 5.0
    assert classifier.auc(differences, 0).lower > 0.8
    figure, alone = classifier.best_figure(differences)
    assert figure == 7
    assert alone > 0.8


def test_figures_that_tell_little_alone_are_seen_together() -> None:
    differences = noise(0)
    differences[:, :20] += 0.4
    assert classifier.auc(differences, 0).lower > classifier.best_figure(differences)[1]


def test_a_pair_tells_hits_reads_and_differences() -> None:
    fresh = {
        SOURCE: "ROW_SOURCE_ENCODED",
        "describe by id code": "NOT_FOUND",
        "put ms": 3.0,
        "put.facts.kind": 1.0,
    }
    held = {SOURCE: "ROW_SOURCE_STORE", "describe by id code": "OK", "put ms": 2.0, "put.already_stored": 1.0}
    clean, leaky = Pair(fresh, fresh), Pair(held, fresh)
    assert (clean.hits(), clean.reads(), clean.differing()) == (0, 0, [])
    assert (leaky.hits(), leaky.reads()) == (2, 1)
    assert set(leaky.differing()) == {SOURCE, "describe by id code", "put.already_stored"}
