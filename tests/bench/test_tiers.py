"""Traffic, sides and measures of `bench.cascade`."""

from __future__ import annotations

import argparse
import tomllib
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from bench.runner import Run
from bench.tiers import alone, mixed
from bench.tiers.labelled import write_questions
from bench.tiers.sides import ALL, BOTH, LARGE, NONE, SMALL, SWITCHED, Round, Sides, write_tiers
from bench.tiers.traffic import CASCADE, MIXED, Mix, digest, shares, traffic
from standin import small_dir


@pytest.mark.parametrize("mix", [MIXED, CASCADE])
def test_traffic_has_the_shares_of_its_mix(mix: Mix) -> None:
    drawn = shares(traffic(mix, 300, seed=1))
    assert drawn["coarse"] == pytest.approx(mix.coarse, abs=0.06)  # repeats have the tier of what they repeat
    assert drawn["repeated"] == pytest.approx(mix.repeated, abs=0.01)
    assert drawn["seen"] == pytest.approx(mix.seen, abs=0.03)


def test_a_seed_repeats_its_traffic_and_shares_no_picture_with_another() -> None:
    first, again, other = (traffic(MIXED, 40, seed) for seed in (1, 1, 2))
    assert digest(first) == digest(again) != digest(other)
    assert not {request.file for request in first} & {request.file for request in other}


def test_repeats_have_the_file_and_the_question_of_an_earlier_request() -> None:
    requests = traffic(MIXED, 200, seed=3)
    earlier: dict[int, bytes] = {}
    for request in requests:
        assert earlier.setdefault(request.picture, request.file) == request.file


def sides_in(folder: Path) -> Sides:
    run = Run(True, 0, argparse.Namespace(), folder, lambda text: None, ExitStack())
    return Sides(run)


def test_a_side_lists_its_tiers_and_starts_an_encoder_for_the_small_one(tmp_path: Path) -> None:
    launched = sides_in(tmp_path).launches(tmp_path / "side", ALL)
    assert [launch.name for launch in launched] == ["encoder", "encoder", "decoder"]
    written = tomllib.loads((tmp_path / "side" / "tiers.toml").read_text())["tier"]
    assert [tier["name"] for tier in written] == ["exact", "small", "large"]
    assert written[1]["model"] == str(small_dir())
    assert written[1]["encoders"] == [launched[1].address]
    assert "calibration" not in written[1]
    assert "model" not in written[2]
    assert launched[0].address in launched[2].flags


def test_a_tier_has_its_calibration_once_there_is_one(tmp_path: Path) -> None:
    path = write_tiers(tmp_path, BOTH, "localhost:1", tmp_path / 'it\'s "here".json')
    written = tomllib.loads(path.read_text())["tier"]
    assert written[0]["calibration"] == str(tmp_path / 'it\'s "here".json')


def test_the_large_model_alone_has_no_tiers_and_no_caches(tmp_path: Path) -> None:
    flags = [flag for launch in sides_in(tmp_path).launches(tmp_path / "side", NONE) for flag in launch.flags]
    assert "--tiers" not in flags
    assert "--cache-bytes" in flags
    assert "--prefix-cache" in flags


def test_only_sides_without_caches_share_encoders(tmp_path: Path) -> None:
    sides = sides_in(tmp_path)
    assert len(sides.launches(tmp_path / "a", NONE)) == 2
    (decoder,) = sides.launches(tmp_path / "b", NONE)
    assert decoder.name == "decoder"
    assert len(sides.launches(tmp_path / "c", ALL)) == 3
    assert len(sides.launches(tmp_path / "d", ALL.without("exact"))) == 3


@pytest.mark.parametrize("lever", SWITCHED)
def test_every_lever_can_be_switched_off(lever: str) -> None:
    assert ALL.without(lever) != ALL
    assert ALL.without(lever).tiers[-1] == LARGE


def test_labelled_questions_lie_beside_their_pictures(tmp_path: Path) -> None:
    requests = traffic(CASCADE, 5, seed=4)
    path = write_questions(requests, tmp_path / "labelled")
    assert len(path.read_text().splitlines()) == 5
    assert (path.parent / f"{requests[0].picture}.png").read_bytes() == requests[0].file


def test_shares_of_several_rounds_keep_their_pictures_apart() -> None:
    rounds = [request for seed in (5, 6) for request in traffic(CASCADE, 20, seed)]
    assert shares(rounds)["seen"] == 0
    assert shares(rounds)["repeated"] == 0


def test_the_table_tells_which_tier_answered() -> None:
    half = [True, False]
    rounds = {"on": [played(1.0, [True, True], small=half)], "off": [played(2.0, [True, False])]}
    assert mixed.figures(rounds["on"])["answered_by"] == {"large": 0.5, "small": 0.5}
    assert [line.split()[0] for line in mixed.table(rounds)] == ["side", "all", "large"]


def played(seconds: float, right: list[bool], small: list[bool] | None = None) -> Round:
    """Answers of the small tier where `small`, else of the large one after the small one."""
    kept = small or [False] * len(right)
    paths = [(SMALL,) if keeps else (SMALL, LARGE) for keeps in kept]
    return Round(seconds, np.array(right), paths)


def test_mixed_traffic_compares_all_on_with_all_off_request_by_request() -> None:
    rounds = {
        "on": [played(1.0, [True, True, False, True])] * 3,
        "off": [played(4.0, [True, False, True, True])] * 3,
    }
    taken = mixed.measures(rounds, seed=0)
    assert taken["requests_vs_large"].value == pytest.approx(4.0)
    assert taken["requests_vs_large"].met
    assert taken["loss"].value == taken["loss"].upper > 0
    assert taken["vs_no_exact"].value is None


def test_a_cascade_without_overhead_reaches_its_ceiling() -> None:
    """The small model costs a quarter of the large one and escalates half: 1 / (0.25 + 0.5) of the time."""
    half = [True, True, False, False]
    rounds = {
        "large": [played(4.0, [True] * 4)] * 3,
        "small": [played(1.0, half)] * 3,
        "cascade": [played(3.0, [True] * 4, small=half)] * 3,
    }
    taken = alone.measures(rounds, seed=0)
    assert taken["ceiling"].value == pytest.approx(1.0)
    assert taken["cost"].value == pytest.approx(0.25)
    assert taken["escalated"].value == pytest.approx(0.5)
    assert taken["cascade_loss"].value == pytest.approx(0.0)


def test_the_error_of_a_calibration_is_that_of_the_kept_answers() -> None:
    keeps = [True] * 10 + [False] * 10
    rounds = {
        "large": [played(1.0, [True] * 20)] * 3,
        "cascade": [played(1.0, [False] + [True] * 19, small=keeps)] * 3,
    }
    error = alone.kept(rounds, 0.99, seed=0)["calibration_error"]
    assert error.value == pytest.approx(9.0)
    assert error.met is False
    nothing_kept = rounds | {"cascade": [played(1.0, [True] * 20)] * 3}
    assert alone.kept(nothing_kept, 0.99, seed=0)["calibration_error"].value is None
