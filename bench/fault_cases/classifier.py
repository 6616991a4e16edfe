"""Tells the two members of pairs apart by their figures, as a caller would who compares two calls.

Figures are compared by signed ranks, so that outliers of times weigh no more than others. The weights are
those of a ridge regression, learnt on the other folds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench import bounds
from bench.bounds import Bounded

FOLDS = 10
RIDGE = 1.0
Floats = npt.NDArray[np.float64]


def auc(differences: Floats, seed: int) -> Bounded:
    """The share of pairs whose members the classifier ranks rightly; 0.5 is chance.

    `differences` (pairs, figures) are of the first member less the second.
    """
    ranks = signed_ranks(differences)
    folds = np.random.default_rng(seed).permutation(len(ranks)) % FOLDS
    scores = np.zeros(len(ranks))
    for fold in range(FOLDS):
        known, asked = ranks[folds != fold], ranks[folds == fold]
        scatter = known.T @ known / len(known) + RIDGE * np.eye(ranks.shape[1])
        scores[folds == fold] = asked @ np.linalg.solve(scatter, known.mean(axis=0))
    return bounds.mean(_right(scores), seed)


def best_figure(differences: Floats) -> tuple[int, float]:
    """The figure that tells most by itself, and its AUC, of which the direction does not matter."""
    tells = np.abs(_right(differences).mean(axis=0) - 0.5)
    return int(tells.argmax()), 0.5 + float(tells.max())


def signed_ranks(differences: Floats) -> Floats:
    """Each figure's sign times the rank of its size, in -1 to 1; equal sizes share their mean rank."""
    from scipy.stats import rankdata

    sizes = rankdata(np.abs(differences), axis=0) / len(differences)
    return np.asarray(np.sign(differences) * sizes)


def _right(scores: Floats) -> Floats:
    """1 where the first member ranks higher, 0.5 where both are equal."""
    return np.asarray(0.5 + 0.5 * np.sign(scores))
