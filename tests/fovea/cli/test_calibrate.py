"""`fovea calibrate` without a decoder that could be calibrated, or without questions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from fovea.calibration.threshold import Measure
from fovea.cli.calibrate import By


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text(json.dumps({"question": "How many?", "answer": "12"}))
    return path


def test_the_measures_are_those_of_a_calibration() -> None:
    assert [by.value for by in By] == [measure.value for measure in Measure]


def test_a_tier_that_the_decoder_lacks_is_named(
    fovea: Callable[..., Result], decoder_address: str, questions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "small.json"
    options = ("--tier", "small", "--out", out, "--decoder", decoder_address, "--json")
    result = fovea("calibrate", questions, *options)
    assert result.exit_code == 1
    assert "small is no tier with a model there; it has none" in json.loads(result.stdout)["error"]["message"]
    assert not out.exists()


def test_questions_are_checked_before_anything_is_asked(
    fovea: Callable[..., Result], decoder, decoder_address: str, questions: Path, tmp_path: Path
) -> None:
    questions.write_text("{}")
    options = ("--tier", "small", "--out", tmp_path / "small.json", "--decoder", decoder_address, "--json")
    result = fovea("calibrate", questions, *options)
    assert result.exit_code == 1
    assert "questions.jsonl:1 has no `question`" in json.loads(result.stdout)["error"]["message"]
    assert decoder.calls == []
