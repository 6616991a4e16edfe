"""The loads of bench/ghz run unchanged, and every call returns OK."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.shell import GUARD_S, ROOT, Addresses

pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]
LOADS = ROOT / "bench" / "ghz"


@pytest.mark.parametrize(("load", "service"), [("count.json", "encoder"), ("complete.json", "decoder")])
def test_200_calls_8_at_a_time_are_all_ok(
    load: str, service: str, tool: Callable[[str], Path], request: pytest.FixtureRequest
) -> None:
    ghz = tool("ghz")
    addresses: Addresses = request.getfixturevalue("addresses")
    command = [ghz, "--config", LOADS / load, "--format", "json", getattr(addresses, service)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=GUARD_S,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    report = json.loads(done.stdout)
    assert report["options"]["concurrency"] == 8
    assert report["statusCodeDistribution"] == {"OK": 200}
