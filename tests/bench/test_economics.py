"""`bench/economy.py`: losses are paired, targets apply to bounds, the page shows every policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.economics import page, requests, rescue
from bench.economics.page import UniformShare
from bench.economics.policies import (
    AUTO,
    CONTROLLED,
    DRAWN,
    FLAT,
    NATIVE,
    OFF,
    UPLOADED,
    accuracy,
    held,
    loss,
    measures,
    reduced,
    saved,
)
from bench.economics.report_pages import HEIGHT, PAGE, WIDTH, render_pdf, stream, write_pdf
from bench.evaluation.asking import Bools, Outcomes, Policy
from bench.evaluation.scores import TIERS
from bench.evaluation.sheets import SCALES, file_of, scale_of, uniform_cells
from decoder_svc.budget.budget import Budget
from decoder_svc.budget.planned import PlannedImage
from decoder_svc.budget.planner import plan
from fovea.geometry import Geometry
from fovea.planning.detail import ImageTraits
from standin.dataset import KINDS

ROWS = 8
FINE = TIERS["fine"]
DTYPES = ("fp8", "int8")


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    """All answers right, with 100 tokens each, except for the cases of the tests."""
    answers = Outcomes(ROWS)
    answers.expect([*DRAWN, *UPLOADED, *CONTROLLED, *(Policy(dtype, OFF.budget) for dtype in DTYPES)])
    for right in answers.right.values():
        right[:] = True
    for tokens in answers.tokens.values():
        tokens[:] = 100
    answers.tokens[AUTO.name][:] = 40
    _wrong(answers.right["strong"], rows=[0, 1])
    _wrong(answers.right[reduced("random", "strong")], rows=[0, 1, 2])
    _wrong(answers.right[NATIVE.name], rows=[0])
    return answers


def _wrong(right: Bools, rows: list[int]) -> None:
    right[:, rows] = False


def test_a_loss_is_paired_and_in_points(outcomes: Outcomes) -> None:
    assert loss(outcomes, OFF.name, FLAT.name).value == 0
    lost = loss(outcomes, OFF.name, "strong", FINE)
    assert (lost.value, lost.n) == (25.0, ROWS * len(FINE))
    assert lost.lower < 25 < lost.upper
    assert loss(outcomes, NATIVE.name, AUTO.name).value == -12.5
    assert accuracy(outcomes, "strong").value == 75
    assert saved(outcomes, NATIVE.name, AUTO.name).value == pytest.approx(0.6)


def test_the_worse_bound_is_held_to_the_target(outcomes: Outcomes) -> None:
    taken = measures(outcomes, 0)
    assert taken["strong_loss"].value == taken["strong_loss"].upper > 25
    assert (taken["strong_loss"].met, taken["economy_loss"].met) == (False, True)
    assert taken["auto_saved"].met
    assert taken["auto_loss"].met
    better = taken["vs_random"]
    assert (better.value, better.met) == (better.lower, True)
    gained = loss(outcomes, OFF.name, "strong")
    assert held("points", gained, 1.0, "at least").value == gained.lower


def test_the_page_and_the_plot_show_every_policy(outcomes: Outcomes, tmp_path: Path) -> None:
    facts = {
        "model": "model", "per_kind": ROWS, "kinds": len(KINDS), "seed": 0, "dataset": "0" * 64, "concurrency": 1,
        "asks": 1, "seconds": 1.0, "cores": 2, "tolerance": 8, "row_dtypes": list(DTYPES),
    }  # fmt: skip
    path, uniform = tmp_path / "economy.md", {"bars": UniformShare(0.5, 1.0)}
    page.write(path, Path("plot.png"), facts, outcomes, measures(outcomes, 0), uniform)
    text = path.read_text()
    for policy in (*DRAWN, *UPLOADED, *CONTROLLED):
        assert f"`{policy.name}`" in text
    assert all(f"`{kind}`" in text for kind in KINDS)
    with Image.open(tmp_path / "plot.png") as drawn:
        assert drawn.size[0] > 1000


def test_views_are_enlarged_by_their_row() -> None:
    picture = Image.new("RGB", (64, 96), "red")
    assert [scale_of(row) for row in range(5)] == [*SCALES, SCALES[0]]
    assert file_of(picture, "native", 3) == file_of(picture, "uploaded", 0)
    assert len(file_of(picture, "uploaded", 3)) > len(file_of(picture, "native", 3))
    picture.putpixel((40, 50), (0, 0, 0))
    assert uniform_cells(picture) == (5, 6)


def test_a_page_comes_out_of_its_pdf_as_it_was_drawn() -> None:
    picture = Image.effect_noise(PAGE, 60).convert("RGB")
    shown = render_pdf(write_pdf(picture))
    assert shown.size == (WIDTH, HEIGHT)
    again = np.asarray(shown.resize(PAGE, Image.Resampling.BOX), int)
    assert np.abs(again - np.asarray(picture)).mean() < 2


def test_half_of_the_requests_are_about_a_page_that_was_seen() -> None:
    pages = [request.page for request in stream(40, 0)]
    logos = [page for page in pages if page < 0]
    assert len(logos) == 5
    assert 8 <= len({page for page in pages if page >= 0}) <= 27


def test_arrivals_have_the_requested_rate() -> None:
    times = rescue.arrival_times(4000, 2.0, 0)
    assert times == sorted(times)
    assert times[-1] == pytest.approx(2000, rel=0.1)


def test_no_random_request_is_over_its_budget_or_of_a_size_that_would_change() -> None:
    taken = requests.measures(300, 1)
    assert (taken["over_budget"].value, taken["changed_sizes"].value) == (0, 0)
    assert taken["over_budget"].n == 300


def test_a_plan_over_its_budget_would_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def spend_all(wanted: list[ImageTraits], budget: Budget, geometry: Geometry) -> list[PlannedImage]:
        return plan(wanted, replace(budget, max_visual_tokens=0), geometry)

    monkeypatch.setattr(requests, "plan", spend_all)
    taken = requests.measures(300, 1)
    assert 0 < (taken["over_budget"].value or 0) < 300
    assert not taken["over_budget"].met
