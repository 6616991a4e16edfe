"""The command as a process with closed, full and limited streams: never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fovea.client.fakes import png

FOVEA = f"{sys.executable} -m fovea.cli"


def shell(command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env={**os.environ, **environ},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("redirect", "status", "expected"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&-", 0, ""),
        (">/dev/full", 1, "fovea: cannot write the output: No space left on device\n"),
        ("| true", 1, ""),
    ],
)
@pytest.mark.parametrize("arguments", ["count 10x10", "count 10x10 --json", "count --help", "--version"])
def test_streams_that_cannot_be_written_to_leave_no_traceback(redirect, status, expected, arguments):
    done = shell(f"{FOVEA} {arguments} {redirect}")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if arguments == "count 10x10" and redirect != "| true":  # who reads nothing may leave before or after
        assert (done.returncode, done.stderr) == (status, expected)


def test_an_answer_is_shown_in_any_character_set(decoder_address, decoder, tmp_path):
    decoder.answer = "价格 42"
    path = png(tmp_path / "bild-é.png")
    done = shell(f"{FOVEA} ask {path} -q ? --decoder {decoder_address}", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (done.returncode, done.stdout) == (0, "?? 42\n")


@pytest.mark.long
@pytest.mark.parametrize(
    "option", ["-q", "-q x --regex", "-q x --choice", "-q x --stop", "-q x --json-schema"]
)
def test_text_that_is_not_utf8_prints_a_clear_error(decoder_address, tmp_path, option):
    path = png(tmp_path / "picture.png")
    done = shell(f"{FOVEA} ask {path} {option} $'{{\\xff\\xfe' --decoder {decoder_address}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not valid UTF-8" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_name_that_is_not_utf8_works(decoder_address, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    png(path)
    done = shell(f"{FOVEA} ask {tmp_path}/$'\\xff'.png -q x --decoder {decoder_address}")
    assert (done.returncode, done.stdout) == (0, "forty two\n")
