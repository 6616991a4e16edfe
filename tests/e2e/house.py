"""Both services in this process, on loopback ports, with a store of their own: what most tests talk to.

Only the process boundary is missing, and tests that need it are in `test_restart.py`. Everything else is real:
gRPC over TCP, LMDB on disk, the tower, the engine.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc, usage_pb2_grpc
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc

START_S = 120.0
CALL_S = 120.0
# The tiny MoE answers this with hundreds of tokens; most other texts it ends after a few.
LONG_WINDED = "Tell me 41 things."


def free_address() -> str:
    """A loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Service:
    """A running service, the channel of an unmodified client, and the task that runs the service."""

    address: str
    metrics: str
    task: asyncio.Task[None]
    channel: grpc.aio.Channel = field(init=False)

    def __post_init__(self) -> None:
        self.channel = grpc.aio.insecure_channel(self.address)

    async def health(self, name: str = "readiness") -> str:
        stub = health_pb2_grpc.HealthStub(self.channel)
        request = health_pb2.HealthCheckRequest(service=name)
        reply = await stub.Check(request, wait_for_ready=True, timeout=START_S)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))

    async def until_ready(self) -> None:
        async with asyncio.timeout(START_S):
            while await self.health() != "SERVING":
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.02)

    async def until_loaded(self) -> None:
        """Wait until a decoder's model runs. For lack of an encoder it may not be ready."""
        stub = decoder_pb2_grpc.DecoderServiceStub(self.channel)
        loaded = decoder_pb2.SERVING_STATE_SERVING
        async with asyncio.timeout(START_S):
            while (
                await stub.GetServerInfo(decoder_pb2.GetServerInfoRequest(), wait_for_ready=True)
            ).state != loaded:
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Stops like SIGTERM: the service drains and frees its resources."""
        await self.channel.close()
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


def encoder(model: Path, cache: Path, **changes: Any) -> Service:
    """Start an encoder without waiting for it."""
    from encoder_svc.app import serve
    from encoder_svc.settings import EncoderSettings

    values: dict[str, Any] = {
        "model": model, "cache_dir": cache, "listen": free_address(), "metrics_listen": free_address(),
        "dtype": "fp32", "row_dtype": "fp32", "threads": 1, "device": "cpu", "grace_s": 2.0,
        "cache_bytes": 256 << 20, "uploads_bytes": 128 << 20,
    }  # fmt: skip
    values |= changes
    return Service(
        values["listen"], values["metrics_listen"], asyncio.create_task(serve(EncoderSettings(**values)))
    )


def decoder(model: Path, encoders: Sequence[str], **changes: Any) -> Service:
    """Start a decoder without waiting for it."""
    from decoder_svc.app import serve
    from decoder_svc.settings import DecoderSettings

    values: dict[str, Any] = {
        "model": model, "encoders": ",".join(encoders), "listen": free_address(), "metrics_listen": free_address(),
        "dtype": "fp32", "threads": 1, "device": "cpu", "kv_tokens": 16_384, "grace_s": 2.0,
        "prefix_cache": False,  # so that a second ask shows what the encoder has kept
        "ledger": False,
    }  # fmt: skip
    values |= changes
    return Service(
        values["listen"], values["metrics_listen"], asyncio.create_task(serve(DecoderSettings(**values)))
    )


class House:
    """An encoder and its decoder, with stubs for both."""

    def __init__(self, model: Path, cache: Path, encoder_side: Service, decoder_side: Service) -> None:
        self.model = model
        self.cache = cache
        self.encoder_side = encoder_side
        self.decoder_side = decoder_side
        self.encoder = encoder_pb2_grpc.EncoderServiceStub(encoder_side.channel)
        self.decoder = decoder_pb2_grpc.DecoderServiceStub(decoder_side.channel)
        self.usage = usage_pb2_grpc.UsageServiceStub(decoder_side.channel)

    async def encodes(self) -> int:
        """The number of images encoded since the start."""
        info = await self.encoder.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
        return int(info.load.encodes)

    async def stats(self) -> encoder_pb2.GetCacheStatsResponse:
        return await self.encoder.GetCacheStats(encoder_pb2.GetCacheStatsRequest(), timeout=CALL_S)

    async def info(self) -> decoder_pb2.GetServerInfoResponse:
        return await self.decoder.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)

    async def put(self, data: bytes) -> decoder_pb2.PutImageResponse:
        header = decoder_pb2.PutImageHeader(digest=digest_of(data))
        pieces = [data[at : at + 1_000_000] for at in range(0, len(data), 1_000_000)] or [b""]
        first = decoder_pb2.PutImageRequest(header=header, data=pieces[0])
        rest = [decoder_pb2.PutImageRequest(data=piece) for piece in pieces[1:]]
        return await self.decoder.PutImage(iter([first, *rest]), timeout=CALL_S)

    async def ask(self, request: decoder_pb2.GenerateRequest) -> Answered:
        return await read(self.decoder.Generate(request, timeout=CALL_S))


@dataclass
class Answered:
    """A whole Generate stream."""

    started: decoder_pb2.Started
    token_ids: list[int]
    text: str
    finished: decoder_pb2.Finished

    @property
    def sources(self) -> list[str]:
        from fovea.vision.v1 import rows_pb2

        return [rows_pb2.RowSource.Name(image.source) for image in self.finished.receipt.images]


async def read(stream: AsyncIterator[decoder_pb2.GenerateResponse]) -> Answered:
    """The order is part of the contract: `started`, deltas, `finished`."""
    events = [event async for event in stream]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert set(kinds[1:-1]) <= {"delta"}
    deltas = [event.delta for event in events[1:-1]]
    return Answered(
        events[0].started,
        [token for delta in deltas for token in delta.token_ids],
        "".join(delta.text for delta in deltas),
        events[-1].finished,
    )


async def rest_of(call: grpc.aio.UnaryStreamCall) -> list[Any]:
    """The rest of a partly read stream. gRPC does not allow mixing both ways of reading."""
    events = []
    while (event := await call.read()) is not grpc.aio.EOF:
        events.append(event)
    return events


@asynccontextmanager
async def running(
    model: Path, cache: Path, *, encoder_changes: Any = None, decoder_changes: Any = None
) -> AsyncIterator[House]:
    """Both services, ready; stopped at the end, the decoder first."""
    first = encoder(model, cache, **(encoder_changes or {}))
    second: Service | None = None
    try:
        await first.until_ready()
        kept = {"ledger": True, "ledger_dir": cache.with_name(f"{cache.name}-ledger")}
        second = decoder(model, [first.address], **(kept | (decoder_changes or {})))
        await second.until_ready()
        yield House(model, cache, first, second)
    finally:
        if second is not None:
            await second.stop()
        await first.stop()


def request(
    text: str,
    images: Sequence[bytes | str] = (),
    *,
    max_new_tokens: int = 16,
    max_pixels: int | None = None,
) -> decoder_pb2.GenerateRequest:
    """A user message: images (inline bytes, or the id of a stored image), then text."""
    parts = [decoder_pb2.Part(image=_image(image)) for image in images]
    parts.append(decoder_pb2.Part(text=text))
    message = decoder_pb2.Message(role=decoder_pb2.ROLE_USER, parts=parts)
    visual = decoder_pb2.VisualBudget(max_pixels=max_pixels) if max_pixels else None
    return decoder_pb2.GenerateRequest(
        messages=[message], sampling=decoder_pb2.Sampling(max_new_tokens=max_new_tokens), visual=visual
    )


def _image(image: bytes | str) -> decoder_pb2.Image:
    return decoder_pb2.Image(digest=image) if isinstance(image, str) else decoder_pb2.Image(data=image)


async def rows_of(
    house: House, digest: str, max_pixels: int | None = None
) -> tuple[bytes, encoder_pb2.EncodeHeader, encoder_pb2.EncodeSummary]:
    """The rows of a stored image straight from the encoder."""
    plan = encoder_pb2.EncodePlan(max_pixels=max_pixels)
    call = house.encoder.Encode(encoder_pb2.EncodeRequest(digest=digest, plan=plan), timeout=CALL_S)
    events = [event async for event in call]
    data = b"".join(event.chunk.data for event in events[1:-1])
    return data, events[0].header, events[-1].summary


async def put_on_encoder(house: House, data: bytes) -> str:
    header = encoder_pb2.PutImageHeader(digest=digest_of(data))
    await house.encoder.PutImage(
        iter([encoder_pb2.PutImageRequest(header=header, data=data)]), timeout=CALL_S
    )
    return digest_of(data)
