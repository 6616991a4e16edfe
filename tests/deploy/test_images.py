"""What is in the images, built by the Dockerfile's own steps, and what their processes may write to."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

import standin
from fovea.cli.readiness import is_ready
from tests.deploy.engine import Engine, Mount
from tests.deploy.locks import FOLDER, locked
from tests.e2e.house import free_address

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]
TARGETS = {"encoder-cpu": "encoder", "decoder-cpu": "decoder", "gateway": "gateway"}
EACH = pytest.mark.parametrize("target", TARGETS)

PACKAGES = """
import json
from importlib.metadata import distributions
print(json.dumps({each.name.lower().replace("_", "-"): each.version for each in distributions()}))
"""
WRITES = """
import errno, os, sys, tempfile
for place in ("/opt/fovea/more", "/var/lib/fovea/more", "/more", sys.prefix + "/lib/more"):
    try:
        open(place, "w")
    except OSError as error:
        assert error.errno in (errno.EROFS, errno.EACCES), error
    else:
        sys.exit(f"{place} was written")
with tempfile.TemporaryFile() as file:
    file.write(b"x")
print(os.getuid(), open("/proc/self/status").read().split("CapEff:")[1].split()[0])
"""


def python(engine: Engine, target: str, program: str) -> str:
    done = engine.run(engine.build(target), "python", "-c", program)
    assert done.returncode == 0, done.stderr
    return done.stdout


@EACH
def test_an_image_holds_its_lock_and_our_wheel_and_nothing_else(engine: Engine, target: str) -> None:
    installed = json.loads(python(engine, target, PACKAGES))
    expected = locked(FOLDER / f"{TARGETS[target]}.lock")
    assert installed.pop("fovea")
    assert installed == expected


@EACH
def test_an_image_holds_no_weights_no_stand_in_and_no_tests(engine: Engine, target: str) -> None:
    whole = engine.build(target).layers[0] / "opt" / "fovea"
    assert (whole / "bin" / "python").is_symlink()
    assert list(whole.rglob("fovea/client/__init__.py"))
    assert not [
        *whole.rglob("*.safetensors"),
        *whole.rglob("site-packages/standin"),
        *whole.rglob("site-packages/tests"),
    ]


@EACH
def test_bytecode_is_in_the_image(engine: Engine, target: str) -> None:
    """A process cannot keep it, as its root is read-only."""
    package = f"{TARGETS[target]}_svc"
    program = f"import {package}.settings as m, os; print(os.path.exists(m.__cached__))"
    assert python(engine, target, program).strip() == "True"


@EACH
def test_a_process_is_unprivileged_and_writes_to_tmp_only(engine: Engine, target: str) -> None:
    user, capabilities = python(engine, target, WRITES).split()
    assert user == "10001"
    assert int(capabilities, 16) == 0


@pytest.mark.parametrize("user", [10001, 54321], ids=["the image's user", "a user without a name"])
def test_an_encoder_needs_a_checkpoint_and_a_volume_alone(engine: Engine, tmp_path: Path, user: int) -> None:
    volume, address = tmp_path / "volume", free_address()
    volume.mkdir()
    os.chown(volume, user, user)
    mounts = [Mount(standin.model_dir(), "/models", read_only=True), Mount(volume, "/var/lib/fovea")]
    variables = {"MODEL": "/models", "LISTEN": address, "METRICS_LISTEN": ""}
    image = replace(engine.build("encoder-cpu"), user=user)
    environment = {f"FOVEA_ENCODER_{name}": value for name, value in variables.items()}
    process = engine.popen(image, image.command, environment, mounts, stderr=subprocess.PIPE)
    while process.poll() is None and not is_ready(address):
        time.sleep(1)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert list(volume.rglob("data.mdb"))


def test_torch_of_a_cpu_image_has_no_cuda_library(engine: Engine) -> None:
    site_packages = engine.build("encoder-cpu").layers[0] / "opt/fovea/lib/python3.11/site-packages"
    large = [path.name for path in site_packages.glob("nvidia/**/*.so*") if path.stat().st_size > 40e6]
    assert not large
    assert (site_packages / "torch/lib/libcublas.so.13").stat().st_size < 1e6
    program = (
        "import torch; print(torch.cuda.is_available(), (torch.ones(2, 2) @ torch.ones(2, 2)).sum().item())"
    )
    assert python(engine, "encoder-cpu", program).split() == ["False", "8.0"]
