"""A Ray cluster of a single node, this machine, with two made-up GPUs.

Whoever reaches a Ray cluster runs code on it, so this one listens on loopback only and wants a token.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.house import free_address

ROOT = Path(__file__).parents[3]
STARTED = "Ray runtime started."
START_S, STOP_S = 240.0, 60.0
STARTS = 3  # Ray gives its agents 15 s for their imports, which a busy machine may exceed the first time
OTHERS = ("dashboard", "ray-client-server")


PLACED = """
import json, ray
ray.init(logging_level="ERROR", log_to_driver=False)
groups = [group for group in ray.util.placement_group_table().values() if group["state"] == "CREATED"]
bundles = [bundle for group in groups for bundle in group["bundles"].values()]
names = [actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)]
print(json.dumps({"gpus": [bundle.get("GPU") for bundle in bundles], "names": sorted(names)}))
"""


@contextmanager
def ray_node() -> Iterator[dict[str, str]]:
    """The environment of the processes that use the node."""
    from tests.decoder.vllm_engine import cpu_on_ray

    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short, because Ray puts sockets into it
    cpu_on_ray.install(folder)
    # jsonschema imports it if it is there, and each of Ray's processes would build its parser for seconds.
    (folder / "rfc3987_syntax.py").write_text("raise ImportError\n")
    environ = {
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "RAY_ADDRESS": free_address(),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # as there: 127.0.0.1 is not replaced by the host's address
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_agent_register_timeout_ms": "240000",
        "RAY_worker_register_timeout_seconds": "240",
        "PYTHONUNBUFFERED": "1",
    }
    process = None
    try:
        process = _started(environ, folder)
        yield environ
    finally:
        if process is not None:
            _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def run_there(script: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python beside the node. In a process of its own, because Ray reads its token when it is imported."""
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, env=os.environ | environ, capture_output=True, text=True, timeout=START_S, check=False
    )


def placed(environ: dict[str, str]) -> dict[str, Any]:
    """The GPUs of each bundle that the node has reserved, and the names of its actors."""
    done = run_there(PLACED, environ)
    assert not done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _started(environ: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Raises AssertionError with what Ray printed."""
    said = folder / "said"
    for _ in range(STARTS):
        with said.open("wb") as out:
            command = _command(environ["RAY_ADDRESS"], folder)
            process = subprocess.Popen(
                command, env=os.environ | environ, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and process.poll() is None:
            if STARTED in said.read_text():
                return process
            time.sleep(0.2)
        _stop(process)
    raise AssertionError(f"Ray did not start: {said.read_text()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()  # ends the node's processes too
    process.wait(STOP_S)


def _command(address: str, folder: Path) -> list[str]:
    """Without the processes that only a cluster needs, and with no port that another node may have."""
    host, _, port = address.partition(":")
    ports = {"port": port} | {f"{name}-port": free_address().partition(":")[2] for name in OTHERS}
    return [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--node-ip-address={host}",
        "--num-gpus=2", "--num-cpus=2", f"--object-store-memory={128 << 20}", f"--temp-dir={folder / 'ray'}",
        "--include-dashboard=false", "--include-log-monitor=false", "--no-monitor",
        *(f"--{name}={value}" for name, value in ports.items()),
    ]  # fmt: skip
