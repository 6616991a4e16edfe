"""A service whose engine died is not ready, fails waiting calls, and exits for its supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from encoder_svc.errors import TowerFailed
from fovea.contract.errors import EngineFailed
from fovea.decoder.v1 import decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, LONG_WINDED, Service, decoder, digest_of, encoder, request
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(120)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(checkpoint: Callable[[str], Path], tmp_path: Path) -> AsyncIterator[tuple[Service, Service]]:
    first = encoder(checkpoint("moe"), tmp_path)
    second = decoder(checkpoint("moe"), [first.address])
    await first.until_ready()
    await second.until_ready()
    yield first, second
    for service in (second, first):
        if not service.task.done():
            await service.stop()


async def test_a_decoder_whose_engine_died_fails_calls_and_exits(
    pair: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    from decoder_svc.model.text import TextDecoder

    _, service = pair
    stub = decoder_pb2_grpc.DecoderServiceStub(service.channel)
    running = stub.Generate(request(LONG_WINDED, max_new_tokens=400), timeout=CALL_S)
    assert (await running.read()).WhichOneof("event") == "started"

    def lost(*args: Any) -> None:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(TextDecoder, "forward", lost)

    async def drained() -> None:
        while await running.read() is not grpc.aio.EOF:
            pass

    error = await failure(drained())
    assert (error.code, error.reason) == ("UNAVAILABLE", "ENGINE_FAILED")
    with pytest.raises(EngineFailed, match="the engine died: RuntimeError"):
        await asyncio.wait_for(asyncio.shield(service.task), CALL_S)


async def test_an_encoder_whose_tower_died_fails_calls_and_exits(
    pair: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    from encoder_svc.vision.tower import Tower

    service, _ = pair
    stub = encoder_pb2_grpc.EncoderServiceStub(service.channel)
    await stub.PutImage(iter([encoder_pb2.PutImageRequest(data=picture())]), timeout=CALL_S)

    def lost(*args: Any) -> None:
        raise TowerFailed

    monkeypatch.setattr(Tower, "encode", lost)
    error = await failure(stub.Encode(encoder_pb2.EncodeRequest(digest=digest_of(picture())), timeout=CALL_S))
    assert (error.code, error.reason) == ("UNAVAILABLE", "ENGINE_FAILED")
    with pytest.raises(TowerFailed):
        await asyncio.wait_for(asyncio.shield(service.task), CALL_S)


@pytest.mark.parametrize("service", ["decoder", "encoder"])
def test_the_process_ends_with_a_line_and_a_nonzero_status(
    service: str,
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from importlib import import_module

    app = import_module(f"{service}_svc.app")

    async def dies(chosen: object, **options: object) -> None:
        raise EngineFailed("the engine died: RuntimeError")

    monkeypatch.setattr(app, "serve", dies)
    monkeypatch.setattr(app.logs, "configure", lambda *args: None)
    flags = {"decoder": ("--encoders", "127.0.0.1:1"), "encoder": ("--cache-dir", str(tmp_path))}[service]
    with pytest.raises(SystemExit) as ended:
        app.main(["--model", str(checkpoint("moe")), *flags])
    assert ended.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"{service}: the engine died: RuntimeError"
