"""`serve` and `demo` as processes: their children end with them, and exit statuses are passed on."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from fovea.cli.readiness import reachable
from gateway_svc.settings import GatewaySettings


def free() -> str:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def drive() -> Iterator:
    started: list[subprocess.Popen] = []

    def start(*argv: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fovea.cli.drive", *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def serve(*extra: str) -> tuple[str, ...]:
    return (*extra, "--", "serve", "--encoder-listen", free(), "--decoder-listen", free())


def read_until(process: subprocess.Popen, words: str) -> str:
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} never came:\n{seen}")


def nobody_listens(text: str) -> bool:
    """Whether all addresses reported as ready are free again."""
    addresses = re.findall(r"(?:ready on|on) (127\.0\.0\.1):(\d+)", text)
    assert addresses
    for host, port in addresses:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return False
    return True


@pytest.mark.long
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_serve_shows_both_logs_and_stops_both_on_request(drive, signum):
    process = drive(*serve())
    seen = read_until(process, "try: fovea ask")
    assert "encoder | encoder speaks" in seen
    assert "decoder | decoder speaks" in seen
    os.kill(process.pid, signum)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert rest.index("decoder says goodbye") < rest.index("encoder says goodbye")
    assert nobody_listens(seen)


@pytest.mark.long
def test_serve_starts_the_gateway_too_and_names_its_page(drive, monkeypatch):
    monkeypatch.setenv("FOVEA_GATEWAY_METRICS_LISTEN", "")
    listen = free()
    process = drive(*serve(), "--gateway", "--gateway-listen", listen)
    seen = read_until(process, "the OpenAI API:")
    assert f"the gateway is ready on {listen}" in seen
    assert f"the page: http://{listen}/" in seen
    with urllib.request.urlopen(f"http://{listen}/healthz", timeout=30) as answer:
        assert answer.status == 200
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert nobody_listens(seen)


def test_serve_starts_no_two_services_on_an_address(drive):
    process = drive("--", "serve", "--gateway", "--gateway-listen", "127.0.0.1:50051")
    seen = process.communicate(timeout=60)[0]
    assert process.returncode == 2
    assert "two services would listen on 127.0.0.1:50051" in seen


@pytest.mark.long
def test_the_flags_of_the_gateway_are_its_settings():
    """`fovea gateway` parses none itself."""
    shown = subprocess.run(
        [sys.executable, "-m", "fovea.cli", "gateway", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for field in GatewaySettings.model_fields:
        assert f"--{field.replace('_', '-')} " in shown
    refused = subprocess.run(
        [sys.executable, "-m", "fovea.cli", "gateway", "--listn", "x"], capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "--listn" in refused.stderr


@pytest.mark.long
def test_serve_exits_with_the_status_of_the_dead_service(drive):
    process = drive(*serve("decoder:--die", "decoder:1"))
    seen = process.communicate(timeout=60)[0]
    assert process.returncode == 7
    assert "the decoder ended with status 7" in seen
    assert "encoder says goodbye" in seen


@pytest.mark.long
def test_serve_can_be_ended_while_it_waits(drive):
    process = drive(*serve("decoder:--never"))
    read_until(process, "the encoder is ready")
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_serve_exits_with_the_status_of_an_invalid_setting(drive):
    process = drive("--", "serve", "--model", "/nowhere")
    assert process.wait(60) == 2


@pytest.mark.long
def test_demo_succeeds_if_every_answer_is_right(drive):
    process = drive("--", "demo")
    seen = process.communicate(timeout=120)[0]
    assert process.returncode == 0, seen
    assert "answers  4 of 4 right" in seen
    assert (
        "80 visual + 10 text tokens, miss, encode 2.0 transfer 0.5 prefill 3.0 decode 4.0 ms, 100 B" in seen
    )
    assert "encodes  1 for 4 questions" in seen
    assert seen.count("ready after") == 4  # both, and both once more
    assert nobody_listens(seen)
    assert "\x1b" not in seen


@pytest.mark.long
def test_demo_fails_if_an_answer_is_wrong(drive):
    process = drive("wrong", "--", "demo")
    seen = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "WRONG, should be twelve" in seen
    assert "answers  1 of 4 right" in seen


@pytest.mark.long
def test_demo_shows_the_log_of_a_service_that_died(drive):
    process = drive("decoder:--never", "encoder:--die", "encoder:0.1", "--", "demo")
    seen = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "the encoder ended with status 7" in seen
    assert "encoder | encoder speaks" in seen


def test_a_service_on_all_interfaces_is_asked_on_loopback():
    assert reachable("0.0.0.0:50051") == "127.0.0.1:50051"
    assert reachable("[::]:50051") == "127.0.0.1:50051"
    assert reachable("encoder:50051") == "encoder:50051"
