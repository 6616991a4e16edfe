"""What a checkpoint says about sampling, and the notice that it brings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fovea.checkpoint import MAX_NOTICE_CHARS, NOTICE, read_notice
from fovea.contract.errors import CheckpointNotSupported
from fovea.generation import sampling_defaults
from standin import model_dir, small_dir
from standin.export import NOTICE as NOTICE_OF_THE_STAND_INS

PUBLISHED = {
    "bos_token_id": 151643, "pad_token_id": 151643, "do_sample": True, "eos_token_id": [151645, 151643],
    "top_k": 20, "top_p": 0.8, "repetition_penalty": 1.0, "temperature": 0.7, "transformers_version": "4.56.0",
}  # fmt: skip
"""Of Qwen3-VL, as published."""


def defaults(folder: Path, values: dict[str, Any]) -> dict[str, float]:
    (folder / "generation_config.json").write_text(json.dumps(values))
    return sampling_defaults(folder)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (PUBLISHED, {"top_k": 20, "top_p": 0.8, "repetition_penalty": 1.0, "temperature": 0.7}),
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.0}),
        ({"do_sample": True}, {"temperature": 1.0}),
        ({"temperature": None, "top_k": None, "presence_penalty": 1.5}, {"presence_penalty": 1.5}),
        ({}, {}),
    ],
)
def test_the_defaults_are_those_of_the_file(
    tmp_path: Path, values: dict[str, Any], expected: dict[str, float]
) -> None:
    assert defaults(tmp_path, values) == expected


def test_without_a_file_there_are_no_defaults(tmp_path: Path) -> None:
    assert sampling_defaults(tmp_path) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1), ("temperature", "hot"), ("top_p", 0), ("top_p", 1.5), ("top_k", -1), ("top_k", 2.5),
        ("min_p", 2), ("repetition_penalty", 0), ("presence_penalty", 3), ("do_sample", "yes"),
    ],
)  # fmt: skip
def test_a_default_that_no_request_may_have_is_refused_by_field(
    tmp_path: Path, field: str, value: object
) -> None:
    with pytest.raises(CheckpointNotSupported, match=f"generation_config.json: {field}") as refused:
        defaults(tmp_path, {field: value})
    assert refused.value.metadata["field"] == field


@pytest.mark.parametrize("folder", [model_dir(), small_dir()], ids=lambda folder: folder.name)
def test_the_stand_ins_say_what_they_read(folder: Path) -> None:
    assert "only pictures like its own" in read_notice(folder) == NOTICE_OF_THE_STAND_INS


def test_most_checkpoints_have_no_notice(tmp_path: Path) -> None:
    assert read_notice(tmp_path) == ""
    (tmp_path / NOTICE).write_text("\n")
    assert read_notice(tmp_path) == ""


@pytest.mark.parametrize("text", [b"\xff", b"two\nlines", b"\x1b[31m", b"x" * (MAX_NOTICE_CHARS + 1)])
def test_a_notice_is_a_short_line(tmp_path: Path, text: bytes) -> None:
    (tmp_path / NOTICE).write_bytes(text)
    with pytest.raises(CheckpointNotSupported, match=NOTICE):
        read_notice(tmp_path)
    (tmp_path / NOTICE).write_bytes(b"x" * MAX_NOTICE_CHARS + b"\n")
    assert len(read_notice(tmp_path)) == MAX_NOTICE_CHARS
