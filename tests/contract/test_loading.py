"""While the model loads, the service is alive, not ready, and tells callers to retry."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tests.contract.test_rpcs import DECODER, ENCODER
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, Service, decoder, digest_of, encoder, request
from tests.e2e.pictures import picture

pytestmark = pytest.mark.timeout(120)


@pytest_asyncio.fixture(loop_scope="session")
async def loading(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Service, Service, threading.Event]]:
    """Both services, paused while they read weights until the event is set."""
    from decoder_svc.native_engine import engine as native
    from encoder_svc.vision.tower import Tower

    go = threading.Event()
    build, load = native.build, Tower.load

    def slow_build(*args: Any) -> Any:
        go.wait(60)
        return build(*args)

    def slow_load(*args: Any) -> Any:
        go.wait(60)
        return load(*args)

    monkeypatch.setattr(native, "build", slow_build)
    monkeypatch.setattr(Tower, "load", slow_load)
    first = encoder(checkpoint("moe"), tmp_path)
    second = decoder(checkpoint("moe"), [first.address])
    try:
        yield first, second, go
    finally:
        go.set()
        await second.stop()
        await first.stop()


async def test_a_loading_service_is_alive_but_not_ready_and_then_ready(
    loading: tuple[Service, Service, threading.Event],
) -> None:
    first, second, go = loading
    for service, name in ((first, ENCODER), (second, DECODER)):
        assert await service.health("liveness") == "SERVING"
        for ready in ("", "readiness", name):
            assert await service.health(ready) == "NOT_SERVING"
    go.set()
    for service, name in ((first, ENCODER), (second, DECODER)):
        await service.until_ready()
        assert await service.health(name) == "SERVING"


async def test_calls_during_loading_get_a_retry_delay(
    loading: tuple[Service, Service, threading.Event],
) -> None:
    first, second, _ = loading
    await first.health("liveness")
    await second.health("liveness")
    on_encoder = encoder_pb2_grpc.EncoderServiceStub(first.channel)
    on_decoder = decoder_pb2_grpc.DecoderServiceStub(second.channel)
    data = picture()
    put = await on_encoder.PutImage(iter([encoder_pb2.PutImageRequest(data=data)]), timeout=CALL_S)
    assert put.facts.digest == digest_of(data), "storing needs no model"
    for call in (
        on_encoder.Encode(encoder_pb2.EncodeRequest(digest=digest_of(data)), timeout=CALL_S),
        on_encoder.CountTokens(encoder_pb2.CountTokensRequest(width=9, height=9), timeout=CALL_S),
        on_decoder.Generate(request("?"), timeout=CALL_S),
        on_decoder.Complete(decoder_pb2.CompleteRequest(request=request("?")), timeout=CALL_S),
    ):
        error = await failure(call)
        assert (error.code, error.reason) == ("UNAVAILABLE", "NOT_READY")
        assert error.retry_s
    info = await on_decoder.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    assert decoder_pb2.ServingState.Name(info.state) == "SERVING_STATE_LOADING"
    assert info.loading_progress < 1
    theirs = await on_encoder.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    assert encoder_pb2.ServingState.Name(theirs.state) == "SERVING_STATE_LOADING"
    assert not theirs.fingerprint


async def test_a_service_that_is_stopped_while_it_loads_ends(
    loading: tuple[Service, Service, threading.Event],
) -> None:
    first, second, go = loading
    await first.health("liveness")
    asyncio.get_running_loop().call_later(0.2, go.set)
    await second.stop()
    await first.stop()
    assert first.task.done()
    assert second.task.done()


async def test_the_tower_loads_while_the_store_is_checked(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the start of an encoder takes the time of both."""
    from encoder_svc import app
    from encoder_svc.vision.tower import Tower

    loaded, load, open_store = threading.Event(), Tower.load, app._open_store

    def noted_load(*args: Any) -> Any:
        loaded.set()
        return load(*args)

    def late_open_store(config: Any) -> Any:
        assert loaded.wait(60), "the tower does not load before the store is open"
        return open_store(config)

    monkeypatch.setattr(Tower, "load", noted_load)
    monkeypatch.setattr(app, "_open_store", late_open_store)
    service = encoder(checkpoint("moe"), tmp_path)
    try:
        await service.until_ready()
    finally:
        await service.stop()
