"""The services of the compose file connect, answer and stop, and both encoders serve."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from tests.deploy.compose import ROOT
from tests.deploy.host import Host, ImageHost
from tests.e2e.house import CALL_S, request
from tests.e2e.pictures import picture

pytestmark = [pytest.mark.timeout(1800), pytest.mark.long]
SAMPLES = ROOT / "standin" / "samples"


@pytest.fixture(params=["processes", "images"])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    images = request.param == "images"
    host = ImageHost(tmp_path, request.getfixturevalue("engine")) if images else Host(tmp_path)
    yield host
    host.stop()


def test_the_services_of_the_file_answer_together(host: Host) -> None:
    decoder = host.services["decoder"]
    assert not host.is_healthy(decoder), "a health check that cannot fail"
    for service in host.services.values():
        host.start(service)
    for service in host.services.values():
        host.until_healthy(service)

    address = host.addressed(decoder, decoder.environment["FOVEA_DECODER_LISTEN"])
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
