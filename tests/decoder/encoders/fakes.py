"""Fake encoders with scripted responses, each in its own server on a loopback port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc

from decoder_svc.encoders.remote import ExpectedModel
from fovea.contract.rows import RowDtype, RowLayout, layout_to_proto
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc

LAYOUT = RowLayout(width=8, levels=3, dtype=RowDtype.FP32)
EXPECTED = ExpectedModel("sha256:" + "f" * 64, LAYOUT.width, LAYOUT.levels)


class FakeEncoder(encoder_pb2_grpc.EncoderServiceServicer):
    """Reports this load, and describes every image once `go` is set."""

    def __init__(self, name: str, waiting: int = 0, running: int = 0, encodes: int = 0) -> None:
        self.name = name
        self.load = encoder_pb2.EncoderLoad(waiting=waiting, running=running, encodes=encodes)
        self.go = asyncio.Event()
        self.go.set()
        self.asked = asyncio.Event()
        self.address = ""

    async def GetServerInfo(self, request, context):
        return encoder_pb2.GetServerInfoResponse(
            name=self.name,
            fingerprint=EXPECTED.fingerprint,
            layout=layout_to_proto(LAYOUT),
            load=self.load,
        )

    async def DescribeImage(self, request, context):
        self.asked.set()
        await self.go.wait()
        response = encoder_pb2.DescribeImageResponse()
        response.facts.digest = request.digest
        response.facts.format = 1
        response.facts.size.width = response.facts.size.height = 64
        return response


@asynccontextmanager
async def served(encoders: Sequence[FakeEncoder]) -> AsyncIterator[None]:
    """Serves all encoders inside the block. Each knows its address."""
    servers = []
    for encoder in encoders:
        server = grpc.aio.server()
        encoder_pb2_grpc.add_EncoderServiceServicer_to_server(encoder, server)
        encoder.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        servers.append(server)
    try:
        yield
    finally:
        await asyncio.gather(*(server.stop(0) for server in servers))
