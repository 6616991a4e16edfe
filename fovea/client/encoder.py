"""The clients of one encoder: what it holds, what an image costs, and its rows, checked. One blocks, one
awaits.

Asking questions needs only the decoder's client; these are for those who look after the cache, or who feed
rows to an engine of their own.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing

from fovea.client import steps
from fovea.client.connection import TIMEOUT_S, AsyncConnection, Connection
from fovea.client.row_stream import RowStreamReader
from fovea.client.sources import File
from fovea.client.upload import FileUpload, Progress, unheard
from fovea.client.values import Placed, Rows, ServerInfo
from fovea.contract.cache import CacheStats, Deleted
from fovea.contract.count import TokenCount
from fovea.contract.image import StoredImage
from fovea.contract.plan import EncodePlan
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc

DEFAULT_ENCODER = "127.0.0.1:50051"


def _plan(plan: EncodePlan | None, max_pixels: int | None) -> EncodePlan:
    """`max_pixels` is short for a plan of it."""
    if plan is None:
        return EncodePlan(max_pixels=max_pixels)
    if max_pixels is not None:
        raise ValueError("max_pixels belongs into the plan, where there is one")
    return plan


class EncoderClient(Connection):
    """A client of one encoder. `token` goes along as a bearer token; `timeout_s` bounds every call."""

    def __init__(
        self, address: str = DEFAULT_ENCODER, token: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__(address, token, timeout_s, encoder_pb2_grpc.EncoderServiceStub)

    def put(self, image: File, progress: Progress = unheard) -> StoredImage:
        """Store a file on this encoder. Asking through a decoder, store there: it knows the owner."""
        return self._run(steps.put(encoder_pb2, FileUpload.of(image), progress))

    def describe(self, digest: str) -> StoredImage:
        """What is known of a stored image. Raises ImageNotStored where it is not here."""
        return self._run(steps.describe(encoder_pb2, digest))

    def count(self, width: int, height: int, max_pixels: int | None = None) -> TokenCount:
        """What an image of this size costs here; no image is needed."""
        return self._run(steps.count_size(width, height, max_pixels))

    def encode(
        self,
        digest: str,
        max_pixels: int | None = None,
        fingerprint: str = "",
        *,
        plan: EncodePlan | None = None,
    ) -> Rows:
        """The rows of a stored image that a plan sends, checked: places, order, count, length, XXH3, digest.

        `max_pixels` is short for a plan of it. `fingerprint` refuses an encoder of another model. Raises
        RowsMismatch for rows that are not what their header announced.
        """
        assembly = RowStreamReader()
        asked = steps.encode(digest, _plan(plan, max_pixels), fingerprint)
        with closing(self._run(asked)) as messages:
            for message in messages:
                assembly.take(message)
        return assembly.rows()

    def place_rows(
        self,
        digest: str,
        plan: EncodePlan,
        *,
        order: bool = False,
        stored_only: bool = False,
        fingerprint: str = "",
    ) -> Placed:
        """Which rows of a stored image a plan sends.

        Runs the tower where that is needed, unless `stored_only` forbids it. `order` asks for the order of
        the rows too.
        """
        return self._run(steps.place_rows(digest, plan, fingerprint, stored_only, order))

    def delete(self, digest: str) -> Deleted:
        """Remove an image and the rows of its pixels. What is not there is removed with zeros."""
        return self._run(steps.delete(digest))

    def cache_stats(self) -> CacheStats:
        """What the store holds and how often it was hit."""
        return self._run(steps.cache_stats())

    def info(self) -> ServerInfo:
        """Model, state, limits, load and features."""
        return self._run(steps.info(encoder_pb2))


class AsyncEncoderClient(AsyncConnection):
    """As `EncoderClient`, for asyncio."""

    def __init__(
        self, address: str = DEFAULT_ENCODER, token: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__(address, token, timeout_s, encoder_pb2_grpc.EncoderServiceStub)

    async def put(self, image: File, progress: Progress = unheard) -> StoredImage:
        """As `EncoderClient.put`; the file is read in a thread."""
        upload = await asyncio.to_thread(FileUpload.of, image)
        return await self._run(steps.put(encoder_pb2, upload, progress))

    async def describe(self, digest: str) -> StoredImage:
        """As `EncoderClient.describe`."""
        return await self._run(steps.describe(encoder_pb2, digest))

    async def count(self, width: int, height: int, max_pixels: int | None = None) -> TokenCount:
        """As `EncoderClient.count`."""
        return await self._run(steps.count_size(width, height, max_pixels))

    async def encode(
        self,
        digest: str,
        max_pixels: int | None = None,
        fingerprint: str = "",
        *,
        plan: EncodePlan | None = None,
    ) -> Rows:
        """As `EncoderClient.encode`."""
        assembly = RowStreamReader()
        asked = steps.encode(digest, _plan(plan, max_pixels), fingerprint)
        async with aclosing(await self._run(asked)) as messages:
            async for message in messages:
                assembly.take(message)
        return assembly.rows()

    async def place_rows(
        self,
        digest: str,
        plan: EncodePlan,
        *,
        order: bool = False,
        stored_only: bool = False,
        fingerprint: str = "",
    ) -> Placed:
        """As `EncoderClient.place_rows`."""
        return await self._run(steps.place_rows(digest, plan, fingerprint, stored_only, order))

    async def delete(self, digest: str) -> Deleted:
        """As `EncoderClient.delete`."""
        return await self._run(steps.delete(digest))

    async def cache_stats(self) -> CacheStats:
        """As `EncoderClient.cache_stats`."""
        return await self._run(steps.cache_stats())

    async def info(self) -> ServerInfo:
        """As `EncoderClient.info`."""
        return await self._run(steps.info(encoder_pb2))
