"""Shares, differences and alarms follow from the answers, and the page shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.evaluation import page, scores
from bench.evaluation.sheets import VIEWS
from standin.dataset import COARSE, KINDS
from standin.questions import CHANCE

N = 200
FACTS = {
    "model": "standin/model", "per_kind": N, "kinds": len(KINDS), "seed": 0, "dataset": "ab" * 32,
    "concurrency": 8, "asks": 1, "images": 1, "encodes": 1, "seconds": 1.0, "asks_per_s": 1.0, "cores": 2,
}  # fmt: skip


def outcomes(native: float, half: float, blank: float | None = None) -> dict[str, np.ndarray]:
    """The first part of each kind is right. A blank image gets `blank`, or the score of guessing."""

    def view(shares: list[float]) -> np.ndarray:
        return np.array([[row < round(share * N) for row in range(N)] for share in shares])

    guessed = [CHANCE[kind] if blank is None else blank for kind in KINDS]
    shares = {"native": [native] * len(KINDS), "half": [half] * len(KINDS), "blank": guessed}
    return {name: view(shares[name]) for name in VIEWS}


def test_scores_are_the_shares_of_right_answers() -> None:
    scored = scores.by_kind(outcomes(0.9, 0.5))
    assert sorted(score.name for score in scored) == sorted(KINDS)
    assert {score.views["native"].value for score in scored} == {0.9}
    assert all(score.lost.value == pytest.approx(0.4) for score in scored)
    assert [score.tier for score in scored[: len(COARSE)]] == ["coarse"] * len(COARSE)


def test_differences_of_scores_are_paired() -> None:
    right = outcomes(0.9, 0.9)
    agreed = scores.by_kind(right)[0].lost
    assert agreed.lower < agreed.value == 0 < agreed.upper < 0.02
    right["half"] = right["half"][:, ::-1]
    assert scores.by_kind(right)[0].lost.upper > 2 * agreed.upper


def test_questions_about_the_same_picture_do_not_narrow_the_bounds() -> None:
    rng = np.random.default_rng(0)
    shared = np.tile(rng.random(N) < 0.5, (len(KINDS), 1))
    alone = rng.random((len(KINDS), N)) < 0.5

    def width(right: np.ndarray) -> float:
        scored = scores.by_tier(dict.fromkeys(VIEWS, right), 0)[0].views["native"]
        return scored.upper - scored.lower

    # 17 kinds: independent answers narrow the bounds of their mean by about 4, shared ones not at all.
    assert width(shared) > 3 * width(alone)


def test_only_scores_above_chance_raise_an_alarm() -> None:
    assert scores.alarms(scores.by_kind(outcomes(1, 1))) == []
    known = outcomes(1, 1)
    place = KINDS.index("page_word")
    known["blank"][place, : N // 4] = True
    assert scores.alarms(scores.by_kind(known)) == ["page_word"]


def test_targets_are_met_by_a_model_that_meets_them_and_by_no_other() -> None:
    good = scores.measures(outcomes(0.98, 0.5), 0)
    assert {name: measure.met for name, measure in good.items() if measure.target is not None} == {
        "coarse_native": True, "fine_native": True, "fine_drop_half": True, "blank_above_chance": True,
    }  # fmt: skip
    bad = scores.measures(outcomes(0.5, 0.45, blank=0.9), 0)
    assert {measure.met for measure in bad.values() if measure.target is not None} == {False}


def test_page_shows_every_kind_and_every_target(tmp_path: Path) -> None:
    right = outcomes(0.98, 0.5)
    kinds, tiers = scores.by_kind(right), scores.by_tier(right, 0)
    path = tmp_path / "eval.md"
    page.write(path, FACTS, kinds, tiers, scores.measures(right, 0))
    text = path.read_text()
    for kind in KINDS:
        assert text.count(f"| `{kind}` |") == 1
    for target in ("coarse_native", "fine_native", "fine_drop_half", "blank_above_chance"):
        assert f"| `{target}` |" in text
    assert "](img/eval.png)" in text
    assert (tmp_path / "img" / "eval.png").exists()
    page.write(path, FACTS, kinds, tiers, scores.measures(right, 0))
    assert text == path.read_text()


def test_plot_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "img" / "eval.png"
    page.draw(path, scores.by_kind(outcomes(0.98, 0.5)), "trial")
    assert path.read_bytes().startswith(b"\x89PNG")
