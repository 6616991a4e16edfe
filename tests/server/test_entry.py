"""Start and end of a service process: a single clear line if it cannot start, and no wait for its threads."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from fovea.server import entry
from standin import model_dir

MODULES = ["encoder_svc", "decoder_svc"]


def command(module: str, folder: Path, *flags: str) -> list[str]:
    decoder = ["--encoders", "127.0.0.1:9", "--ledger", "false"]
    own = ["--cache-dir", str(folder)] if module == "encoder_svc" else decoder
    base = ["--model", str(model_dir()), "--listen", "127.0.0.1:0", "--metrics-listen", "", "--threads", "1"]
    return [sys.executable, "-m", module, *base, *own, *flags]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **more}


def refused(module: str, folder: Path, *flags: str) -> tuple[int, str]:
    """Exit status and last line of a failed start."""
    done = subprocess.run(
        command(module, folder, *flags), capture_output=True, text=True, env=environment(), timeout=120
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.long
@pytest.mark.parametrize("module", MODULES)
def test_a_metrics_port_in_use_fails_the_start_with_its_address(module: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, line = refused(module, tmp_path, "--metrics-listen", address)
    assert status == 1
    assert line == f"{module.removesuffix('_svc')}: cannot serve metrics on {address}: Address already in use"


@pytest.mark.long
@pytest.mark.parametrize("module", MODULES)
def test_a_listen_port_in_use_fails_the_start_with_its_address(module: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, line = refused(module, tmp_path, "--listen", address)
    assert status == 1
    assert address in line


@pytest.mark.long
@pytest.mark.parametrize("module", MODULES)
def test_a_device_that_is_not_there_ends_the_start_with_its_name(module: str, tmp_path: Path) -> None:
    status, line = refused(module, tmp_path, "--device", "cuda:99", "--dtype", "fp32")
    assert status == 1
    assert "device cuda:99: torch finds" in line


@pytest.mark.long
@pytest.mark.parametrize("module", MODULES)
def test_a_model_hub_id_is_explained(module: str, tmp_path: Path) -> None:
    status, line = refused(module, tmp_path, "--model", "Qwen/Qwen3-VL-30B-A3B-Instruct")
    assert status == 1
    assert "Qwen/Qwen3-VL-30B-A3B-Instruct is not a folder" in line
    assert "fetch the checkpoint first" in line


@pytest.mark.long
def test_a_cache_folder_that_is_a_file_ends_the_start_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, line = refused("encoder_svc", tmp_path / "file")
    assert status == 1
    assert str(tmp_path / "file") in line


def test_missing_packages_are_reported_with_their_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def only_some(name: str) -> str:
        if name in ("torch", "lmdb"):
            raise PackageNotFoundError(name)
        return name

    monkeypatch.setattr(entry, "distribution", only_some)
    monkeypatch.setenv("GRPC_VERBOSITY", "NONE")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(entry.threading, "excepthook", entry.threading.excepthook)
    with pytest.raises(SystemExit) as stopped:
        entry.prepare("encoder")
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "encoder: lmdb, torch not installed: pip install 'fovea[encoder]'\n"


UNEXPECTED = """
import threading
from fovea.server.entry import prepare
prepare("decoder")
thread = threading.Thread(target=lambda: {}["of a thread"])
thread.start()
thread.join()
raise RuntimeError("two\\nlines")
"""


def test_an_unexpected_error_is_reported_in_a_line() -> None:
    done = subprocess.run([sys.executable, "-c", UNEXPECTED], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "decoder: unexpected KeyError at <string>:5: 'of a thread'",
        "decoder: unexpected RuntimeError at <string>:8: two lines",
    ]


LOADING = """
import asyncio, threading, time
from fovea.server.entry import StoppedWhileLoading, run

async def serve():
    began = threading.Event()
    def load():
        began.set()
        time.sleep(600)
    asyncio.ensure_future(asyncio.to_thread(load))
    await asyncio.to_thread(began.wait)
    print("closed", end="")
    raise StoppedWhileLoading

run(serve(), "encoder", ())
"""


IMPORTING = """
import os, runpy, signal, sys, types

def prepare(name):
    os.kill(os.getpid(), signal.SIGINT)  # in the middle of the imports
    for _ in range(1000):
        pass
    print("went on")

entry = types.ModuleType("fovea.server.entry")
entry.prepare = prepare
sys.modules["fovea.server.entry"] = entry
runpy.run_module(sys.argv[1], run_name="__main__")
"""


@pytest.mark.parametrize("module", MODULES)
def test_an_interrupt_while_a_service_imports_its_modules_leaves_no_traceback(module: str) -> None:
    command = [sys.executable, "-c", IMPORTING, f"{module}.__main__"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_a_process_that_is_stopped_while_it_loads_does_not_wait_for_the_weights() -> None:
    done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed", "")


@pytest.mark.long
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", MODULES)
def test_a_log_of_json_is_json_to_its_last_line(module: str, signum: int, tmp_path: Path) -> None:
    """On both streams, from the first line to the interpreter's output at exit."""
    flags = command(module, tmp_path, "--log-form", "json")
    with subprocess.Popen(
        flags, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
    ) as running:
        assert running.stdout is not None
        lines = []
        for line in running.stdout:
            lines.append(line)
            if '"event": "ready"' in line:
                running.send_signal(signum)
    events = [json.loads(line)["event"] for line in lines]
    assert running.returncode == 0
    assert events[0] == "settings"
    assert events[-1] == "draining"


@pytest.mark.long
def test_wrong_settings_are_json_too_where_the_log_is(tmp_path: Path) -> None:
    status, line = refused("decoder_svc", tmp_path, "--log-form", "json", "--threads", "many")
    assert status == 2
    assert "--threads (FOVEA_DECODER_THREADS)" in json.loads(line)["event"]
