"""The clients of an encoder, blocking and asyncio: its cache, token counts and verified rows.

Asking questions needs only the decoder's client. These clients manage a cache or feed rows to another engine.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing

from fovea.client import steps
from fovea.client.connection import TIMEOUT_S, AsyncConnection, Connection
from fovea.client.messages import Source, id_of
from fovea.client.row_stream import RowStreamReader
from fovea.client.sources import File
from fovea.client.tls import Tls
from fovea.client.upload import FileUpload, Progress, unheard
from fovea.client.values import Placed, Rows
from fovea.contract.cache import CacheStats, Deleted
from fovea.contract.count import TokenCount
from fovea.contract.image import StoredImage
from fovea.contract.info import ServerInfo
from fovea.contract.plan import EncodePlan
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc

DEFAULT_ENCODER = "127.0.0.1:50051"


def _plan(plan: EncodePlan | None, max_pixels: int | None) -> EncodePlan:
    """`max_pixels` is shorthand for a plan with that limit."""
    if plan is None:
        return EncodePlan(max_pixels=max_pixels)
    if max_pixels is not None:
        raise ValueError("max_pixels must be set in the plan if a plan is given")
    return plan


class EncoderClient(Connection):
    """A client of an encoder. `token` is sent as a bearer token, to other machines only with `tls`.

    `timeout_s` bounds every call. Without `tls` the connection is in plain text.
    """

    def __init__(
        self,
        address: str = DEFAULT_ENCODER,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        tls: Tls | None = None,
    ) -> None:
        super().__init__(address, token, timeout_s, encoder_pb2_grpc.EncoderServiceStub, tls)

    def put(self, image: File, progress: Progress = unheard) -> StoredImage:
        """Store a file on this encoder. To ask through a decoder, put the file there: it knows the owner."""
        return self._run(steps.put(encoder_pb2, FileUpload.of(image), progress))

    def describe(self, digest: str) -> StoredImage:
        """The facts of a stored image. Raises ImageNotStored."""
        return self._run(steps.describe(encoder_pb2, digest))

    def count(self, width: int, height: int, max_pixels: int | None = None) -> TokenCount:
        """The cost of an image of this size on this encoder; no image is needed."""
        return self._run(steps.count_size(width, height, max_pixels))

    def encode(
        self,
        digest: str,
        max_pixels: int | None = None,
        fingerprint: str = "",
        *,
        plan: EncodePlan | None = None,
    ) -> Rows:
        """The rows of a stored image under a plan, verified: indices, order, count, length, XXH3, digest.

        `max_pixels` is shorthand for a plan with that limit. `fingerprint` refuses an encoder of another
        model. Raises RowsMismatch for rows that differ from their header.
        """
        reader = RowStreamReader()
        encode_steps = steps.encode(digest, _plan(plan, max_pixels), fingerprint)
        with closing(self._run(encode_steps)) as messages:
            for message in messages:
                reader.take(message)
        return reader.rows()

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

        Runs the tower if needed, unless `stored_only` forbids it. `order` also returns the ranking.
        """
        return self._run(steps.place_rows(digest, plan, fingerprint, stored_only, order))

    def delete(self, image: Source) -> Deleted:
        """Remove an image, given by id or as a file, and the rows of its pixels. For an unknown image all
        counts are zero.
        """
        return self._run(steps.delete(id_of(image)))

    def purge(self, tenant: str) -> Deleted:
        """Remove everything of a tenant. Needs a token of role service or operator."""
        return self._run(steps.purge(tenant))

    def cache_stats(self) -> CacheStats:
        """The store's contents and hit counts."""
        return self._run(steps.cache_stats())

    def info(self) -> ServerInfo:
        """Model, state, limits, load and features."""
        return self._run(steps.info(encoder_pb2))


class AsyncEncoderClient(AsyncConnection):
    """Like `EncoderClient`, for asyncio."""

    def __init__(
        self,
        address: str = DEFAULT_ENCODER,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        tls: Tls | None = None,
    ) -> None:
        super().__init__(address, token, timeout_s, encoder_pb2_grpc.EncoderServiceStub, tls)

    async def put(self, image: File, progress: Progress = unheard) -> StoredImage:
        """Like `EncoderClient.put`; the file is read in a thread."""
        upload = await asyncio.to_thread(FileUpload.of, image)
        return await self._run(steps.put(encoder_pb2, upload, progress))

    async def describe(self, digest: str) -> StoredImage:
        """Like `EncoderClient.describe`."""
        return await self._run(steps.describe(encoder_pb2, digest))

    async def count(self, width: int, height: int, max_pixels: int | None = None) -> TokenCount:
        """Like `EncoderClient.count`."""
        return await self._run(steps.count_size(width, height, max_pixels))

    async def encode(
        self,
        digest: str,
        max_pixels: int | None = None,
        fingerprint: str = "",
        *,
        plan: EncodePlan | None = None,
    ) -> Rows:
        """Like `EncoderClient.encode`."""
        reader = RowStreamReader()
        encode_steps = steps.encode(digest, _plan(plan, max_pixels), fingerprint)
        async with aclosing(await self._run(encode_steps)) as messages:
            async for message in messages:
                reader.take(message)
        return reader.rows()

    async def place_rows(
        self,
        digest: str,
        plan: EncodePlan,
        *,
        order: bool = False,
        stored_only: bool = False,
        fingerprint: str = "",
    ) -> Placed:
        """Like `EncoderClient.place_rows`."""
        return await self._run(steps.place_rows(digest, plan, fingerprint, stored_only, order))

    async def delete(self, image: Source) -> Deleted:
        """Like `EncoderClient.delete`."""
        digest = await asyncio.to_thread(id_of, image)
        return await self._run(steps.delete(digest))

    async def purge(self, tenant: str) -> Deleted:
        """Like `EncoderClient.purge`."""
        return await self._run(steps.purge(tenant))

    async def cache_stats(self) -> CacheStats:
        """Like `EncoderClient.cache_stats`."""
        return await self._run(steps.cache_stats())

    async def info(self) -> ServerInfo:
        """Like `EncoderClient.info`."""
        return await self._run(steps.info(encoder_pb2))
