"""The last line of a bench: fields, numbers, met and owed measures, exit status."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import grpc
import pytest

from bench.bounds import Bounded
from bench.result import Measure, Result
from bench.runner import Run, line, main, show
from fovea.contract.errors import FoveaError

LINE = {
    "schema", "bench", "commit", "dirty", "seed", "quick", "host", "config", "dataset_digest", "sides",
    "measures", "owed", "ok",
}  # fmt: skip
MEASURE = {"value", "unit", "n", "lower", "upper", "target", "met"}


def result(**measures: Measure) -> Result:
    return Result({"size": 2}, {"ours": {}}, measures)


def line_of(**measures: Measure) -> dict[str, Any]:
    return line("trial", 3, True, result(**measures))


def measured(value: float | None, target: float | None = None, sense: str = "at least") -> Measure:
    return Measure("ratio", value, target=target, sense=sense)  # type: ignore[arg-type]


def test_the_json_has_the_promised_fields() -> None:
    last = line_of(speed=measured(0.5, 0.4))
    assert set(last) == LINE
    assert set(last["measures"]["speed"]) == MEASURE
    assert set(last["host"]) == {"cpu", "cores", "gpu"}
    assert (last["schema"], last["bench"], last["seed"], last["quick"]) == (1, "trial", 3, True)


def test_bounds_are_in_the_json() -> None:
    measure = Measure.of("ms", Bounded(1.23456789, 1, 2, 40)).as_json()
    assert (measure["value"], measure["lower"], measure["upper"], measure["n"]) == (1.23457, 1, 2, 40)
    assert measure["target"] is None
    assert measure["met"] is None


@pytest.mark.parametrize(
    ("value", "target", "sense", "met"),
    [
        (0.4, 0.4, "at least", True),
        (0.39, 0.4, "at least", False),
        (0.0, 0.0, "at most", True),
        (1.0, 0.0, "at most", False),
        (None, 0.4, "at least", None),
        (0.4, None, "at least", None),
    ],
)
def test_met_compares_the_value_with_the_target(
    value: float | None, target: float | None, sense: str, met: bool | None
) -> None:
    assert measured(value, target, sense).met is met


def test_unmeasured_measures_are_owed_and_fail_nothing() -> None:
    last = line_of(taken=measured(1, 1), untaken=measured(None, 1))
    assert last["owed"] == ["untaken"]
    assert last["measures"]["untaken"]["value"] is None
    assert last["ok"] is True


def test_a_comparison_without_observations_of_a_side_is_owed() -> None:
    taken, missing = (Measure.ratio([2.0, 4.0], below, 0, 1.5) for below in ([1.0, 2.0], []))
    assert (taken.value, taken.met) == (2.0, True)
    assert (missing.value, missing.target, missing.met) == (None, 1.5, None)
    assert replace(taken.owed(), target=1.5) == missing


@pytest.mark.parametrize(
    ("value", "check", "status"), [(1, True, 0), (0.1, True, 1), (0.1, False, 0), (1, False, 0)]
)
def test_check_turns_an_unmet_measure_into_the_exit_status(
    value: float,
    check: bool,
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["trial", *(["--check"] if check else [])])
    with pytest.raises(SystemExit) as ended:
        main("trial", "", lambda run: result(speed=measured(value, 0.4)))
    assert ended.value.code == status
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["ok"] is (value == 1)


class Unready(FoveaError):
    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_READY"


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [(Unready("wait"), "UNAVAILABLE", "NOT_READY"), (OSError("wait"), "UNAVAILABLE", "OSError")],
)
def test_a_bench_that_cannot_run_says_so_in_the_same_place(
    error: Exception,
    code: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(run: Run) -> Result:
        raise error

    monkeypatch.setattr(sys, "argv", ["trial"])
    with pytest.raises(SystemExit) as ended:
        main("trial", "", fail)
    assert ended.value.code == 1
    last = json.loads(capsys.readouterr().out)
    assert last["error"]["code"] == code
    assert last["error"]["reason"] == reason
    assert set(last["error"]) == {"code", "reason", "message", "metadata"}


def test_the_card_shows_every_measure_with_facts_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    taken = {"speed": measured(0.1, 0.4), "missing": measured(None)}
    show("trial", Result({}, {}, taken, facts=["2 callers"], notes=["a note"]))
    card = capsys.readouterr().err
    assert all(
        text in card for text in ("trial, 2 callers", "speed", "at least 0.4", "not measured", "a note")
    )
