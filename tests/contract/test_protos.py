"""The contract's files pass buf, and the committed Python stubs are up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SERVICES = (
    "fovea/encoder/v1/encoder.proto",
    "fovea/decoder/v1/decoder.proto",
    "fovea/decoder/v1/usage.proto",
)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", [("lint", "protos"), ("format", "-d", "--exit-code", "protos")])
def test_buf_reports_nothing(command: tuple[str, ...]) -> None:
    done = run(BIN / "buf", *command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_generated_stubs_are_up_to_date(tmp_path: Path) -> None:
    protos = sorted(str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto"))
    messages = run(
        sys.executable, "-m", "grpc_tools.protoc", "-Iprotos",
        f"--plugin=protoc-gen-mypy={BIN}/protoc-gen-mypy",
        f"--python_out={tmp_path}", f"--mypy_out=quiet:{tmp_path}", *protos,
    )  # fmt: skip
    services = run(
        sys.executable, "-m", "grpc_tools.protoc", "-Iprotos",
        f"--plugin=protoc-gen-mypy_grpc={BIN}/protoc-gen-mypy_grpc",
        f"--grpc_python_out={tmp_path}", f"--mypy_grpc_out=quiet:{tmp_path}", *SERVICES,
    )  # fmt: skip
    assert messages.returncode == services.returncode == 0, messages.stderr + services.stderr
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(ROOT): path.read_text() for path in (ROOT / "fovea").rglob("*_pb2*.py*")
            if "__pycache__" not in path.parts}  # fmt: skip
    assert made.keys() == kept.keys()
    stale = sorted(str(path) for path in made if made[path] != kept[path])
    assert not stale, f"run make proto: {stale}"


def test_every_optional_field_names_its_default() -> None:
    """Fields with a non-zero default are `optional` and document it, or what absence means."""
    unsaid = []
    for path in sorted((ROOT / "protos").rglob("*.proto")):
        comment = ""
        for line in path.read_text().splitlines():
            text = line.strip()
            if text.startswith("//"):
                comment += text
                continue
            if text.startswith("optional") and not re.search(r"default|absent", comment, re.IGNORECASE):
                unsaid.append(f"{path.name}: {text}")
            comment = ""
    assert not unsaid
