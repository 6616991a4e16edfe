"""The last line of a bench keeps its promise: fields, numbers, what is met, what is owed, the exit status."""

from __future__ import annotations

import json

import grpc
import pytest

from bench.bounds import Bounded
from bench.options import finish
from bench.result import Measure, Result
from fovea.contract.errors import FoveaError

LINE = {
    "schema", "bench", "commit", "dirty", "seed", "quick", "host", "config", "dataset_digest", "sides",
    "measures", "owed", "ok",
}  # fmt: skip
MEASURE = {"value", "unit", "n", "lower", "upper", "target", "met"}


def result(**measures: Measure) -> Result:
    return Result(
        "trial", 3, True, {"size": 2}, {"ours": {}}, measures, host={"cpu": "", "cores": 2, "gpu": None}
    )


def measured(value: float | None, target: float | None = None, sense: str = "at least") -> Measure:
    return Measure("ratio", value, target=target, sense=sense)  # type: ignore[arg-type]


def test_fields_are_those_that_are_promised() -> None:
    line = result(speed=measured(0.5, 0.4)).as_json()
    assert set(line) == LINE
    assert set(line["measures"]["speed"]) == MEASURE
    assert set(line["host"]) == {"cpu", "cores", "gpu"}
    assert (line["schema"], line["bench"], line["seed"], line["quick"]) == (1, "trial", 3, True)


def test_bounds_travel_with_the_value() -> None:
    line = Measure.of("ms", Bounded(1.23456789, 1, 2, 40)).as_json()
    assert (line["value"], line["lower"], line["upper"], line["n"]) == (1.23457, 1, 2, 40)
    assert line["target"] is None
    assert line["met"] is None


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


def test_what_was_not_measured_is_owed_and_fails_nothing() -> None:
    line = result(taken=measured(1, 1), untaken=measured(None, 1)).as_json()
    assert line["owed"] == ["untaken"]
    assert line["measures"]["untaken"]["value"] is None
    assert line["ok"] is True


@pytest.mark.parametrize(
    ("value", "check", "status"), [(1, True, 0), (0.1, True, 1), (0.1, False, 0), (1, False, 0)]
)
def test_check_turns_an_unmet_measure_into_the_exit_status(
    value: float, check: bool, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finish("trial", check, lambda: result(speed=measured(value, 0.4))) == status
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
    error: Exception, code: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Result:
        raise error

    assert finish("trial", False, fail) == 1
    line = json.loads(capsys.readouterr().out)
    assert line["error"]["code"] == code
    assert line["error"]["reason"] == reason
    assert set(line["error"]) == {"code", "reason", "message", "metadata"}
