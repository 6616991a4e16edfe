"""The file of a calibration: written whole, read strictly, valid for one tier."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fovea.calibration.answers import AnswerType
from fovea.calibration.calibration import Calibration, CalibrationInvalid, Counts, load_calibration
from fovea.calibration.confidence import Scale
from fovea.calibration.threshold import Measure

MODEL, OTHER, DATA = (f"sha256:{digit * 64}" for digit in "abd")
MADE = Calibration(
    "small", MODEL, OTHER, Measure.RELATIVE, 0.99, 0.8, {AnswerType.WORD: Scale(0.5, -0.25)},
    Counts(400, 300, 290, 300, 291, 6), DATA,
)  # fmt: skip


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "small.json"
    MADE.save(path)
    assert load_calibration(path) == replace(MADE, path=path)
    assert [file.name for file in tmp_path.iterdir()] == ["small.json"]


def test_confidence_is_that_of_the_type() -> None:
    assert MADE.confidence("red", [-0.1], None) > 0.5
    assert MADE.confidence("42", [-0.1], None) == 0.0


def test_silent_errors_are_contradictions_or_wrong_labels() -> None:
    assert MADE.silent_errors == (6, 300)
    assert replace(MADE, counts=Counts(400, 300, 290)).silent_errors == (10, 300)


def changed(path: tuple[str, ...], value: Any) -> Callable[[dict[str, Any]], object]:
    def change(made: dict[str, Any]) -> None:
        for key in path[:-1]:
            made = made[key]
        if value is None:
            del made[path[-1]]
        else:
            made[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "damage",
    [
        changed(("format",), 2), changed(("threshold",), None), changed(("threshold",), 1.5),
        changed(("threshold",), float("nan")), changed(("threshold",), "0.8"), changed(("wanted",), 0),
        changed(("measure",), "other"), changed(("scales",), {}), changed(("scales", "word"), {"slope": 1}),
        changed(("scales", "word", "slope"), -1.0), changed(("scales", "word", "slope"), float("inf")),
        changed(("scales", "unknown"), {"slope": 1, "intercept": 0}), changed(("scales",), [1]),
        changed(("counts", "kept"), -1), changed(("counts", "right"), 301), changed(("counts", "kept"), 1.5),
        changed(("counts", "disagreed"), 301), changed(("counts",), None), changed(("model",), "a"),
        changed(("data",), "sha256:1"), changed(("more",), 1),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_by_its_name(
    tmp_path: Path, damage: Callable[[dict[str, Any]], object]
) -> None:
    path = tmp_path / "small.json"
    value = MADE.as_json()
    damage(value)
    path.write_text(json.dumps(value))
    with pytest.raises(CalibrationInvalid, match=r"small\.json"):
        load_calibration(path)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, "null"])
def test_a_file_that_is_no_calibration_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "small.json"
    path.write_text(content)
    with pytest.raises(CalibrationInvalid, match=r"small\.json"):
        load_calibration(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationInvalid, match="cannot be read"):
        load_calibration(tmp_path / "none.json")


def test_a_calibration_of_another_model_or_reference_is_refused() -> None:
    MADE.check_made_for(MODEL, OTHER)
    with pytest.raises(CalibrationInvalid, match="another tier"):
        MADE.check_made_for(DATA, OTHER)
    with pytest.raises(CalibrationInvalid, match="another reference"):
        MADE.check_made_for(MODEL, DATA)
    replace(MADE, reference="").check_made_for(MODEL, DATA)
