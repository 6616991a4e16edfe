"""The commands of the compose file as processes on this machine: they connect, and both encoders serve.

The file provides commands, environments and health checks. The test provides what a container engine would: an
address for each service, a folder for each volume, and the files of the image.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest

from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from tests.deploy.compose import ROOT, Service, services
from tests.deploy.dockerfile import copies
from tests.e2e.house import CALL_S, free_address, request
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(1800)
START_S = 1500.0
SAMPLES = ROOT / "standin" / "samples"


class Host:
    """Replaces the container engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services = services()
        self.addresses = {
            (name, port): free_address() for name, service in self.services.items() for port in service.ports
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, service: Service, text: str) -> str:
        """An argument or a variable of a service, adapted to this machine."""
        for (name, port), address in self.addresses.items():
            text = text.replace(f"{name}:{port}", address)
            if name == service.name:
                text = text.replace(f"0.0.0.0:{port}", address).replace(f"127.0.0.1:{port}", address)
        for inside, volume in service.folders.items():
            text = text.replace(inside, str(self.folder / volume))
        for source, inside in copies():
            if inside.startswith("/"):
                text = text.replace(inside, str(ROOT / source))
        return sys.executable if text == "python" else text

    def start(self, service: Service) -> None:
        with (self.folder / f"{service.name}.log").open("wb") as log:
            self.running[service.name] = subprocess.Popen(
                [self.here(service, word) for word in service.fields["command"]],
                env={name: self.here(service, value) for name, value in service.environment.items()},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def is_healthy(self, service: Service) -> bool:
        """By the service's own health check."""
        command = [self.here(service, word) for word in service.health]
        return subprocess.run(command, cwd=self.folder, env={}, check=False, timeout=120).returncode == 0

    def until_healthy(self, service: Service) -> None:
        end = time.monotonic() + START_S
        while not self.is_healthy(service):
            log = (self.folder / f"{service.name}.log").read_text()
            assert self.running[service.name].poll() is None, log[-2000:]
            assert time.monotonic() < end, log[-2000:]
            time.sleep(2.0)

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.stop()


@pytest.mark.long
def test_the_services_of_the_file_answer_together(host: Host) -> None:
    decoder = host.services["decoder"]
    assert not host.is_healthy(decoder), "a health check that cannot fail"
    for service in host.services.values():
        host.start(service)
    for service in host.services.values():
        host.until_healthy(service)

    address = host.here(decoder, decoder.environment["FOVEA_DECODER_LISTEN"])
    with grpc.insecure_channel(address) as channel:
        stub = decoder_pb2_grpc.DecoderServiceStub(channel)
        sample = json.loads((SAMPLES / "samples.json").read_text())[0]
        asked = sample["questions"][0]
        assert _ask(stub, asked["question"], (SAMPLES / sample["file"]).read_bytes()).text == asked["answer"]
        # Each picture goes to either encoder alike: that 40 go to one happens once in 10^12.
        used = set()
        for seed in range(40):
            used.add(_ask(stub, "?", picture(64, 64, seed)).receipt.images[0].encoder)
            if len(used) == 2:
                break
        assert used == {"encoder-a", "encoder-b"}
        info = stub.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    assert {peer.name: peer.compatible for peer in info.encoders} == {"encoder-a": True, "encoder-b": True}
    assert all(peer.encodes for peer in info.encoders)
    assert info.model == "fovea-standin"

    for process in host.running.values():
        process.send_signal(signal.SIGTERM)
    assert {name: process.wait(120) for name, process in host.running.items()} == dict.fromkeys(
        host.running, 0
    )
    for volume in ("encoder-a", "encoder-b"):
        assert list((host.folder / volume).iterdir()), "its store is not where the volume is mounted"


def _ask(
    stub: decoder_pb2_grpc.DecoderServiceStub, question: str, image: bytes
) -> decoder_pb2.CompleteResponse:
    message = request(question, [image], max_new_tokens=8)
    return stub.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
