"""The client of one encoder: what it holds, what an image costs, and its rows, checked.

Asking questions needs only the decoder's client; this one is for those who look after the cache, or who feed
rows to an engine of their own.
"""

from __future__ import annotations

from contextlib import closing
from types import TracebackType

from fovea.client import convert
from fovea.client.connection import TIMEOUT_S, Connection
from fovea.client.messages import Source
from fovea.client.rows import Assembly
from fovea.client.upload import Progress, Upload, unheard
from fovea.client.values import CacheStats, Deleted, Rows, ServerInfo, TokenCount
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from fovea.facts import Stored

DEFAULT_ENCODER = "127.0.0.1:50051"


class EncoderClient:
    """A client of one encoder. `token` goes along as a bearer token; `timeout_s` bounds every call."""

    def __init__(
        self, address: str = DEFAULT_ENCODER, token: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._link = Connection(address, token, timeout_s)
        self._stub = encoder_pb2_grpc.EncoderServiceStub(self._link.channel)

    def __enter__(self) -> EncoderClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._link.close()

    def put(self, image: Source, progress: Progress = unheard) -> Stored:
        """Store a file on this encoder. Asking through a decoder, store there: it knows the owner."""
        requests = Upload.of(image).requests(
            encoder_pb2.PutImageHeader, encoder_pb2.PutImageRequest, progress
        )
        return convert.stored(self._link.one(self._stub.PutImage, requests))

    def describe(self, digest: str) -> Stored:
        """What is known of a stored image. Raises IMAGE_NOT_STORED where it is not here."""
        request = encoder_pb2.DescribeImageRequest(digest=digest)
        return convert.stored(self._link.one(self._stub.DescribeImage, request))

    def count(self, width: int, height: int, max_pixels: int | None = None) -> TokenCount:
        """What an image of this size costs here; no image is needed."""
        request = encoder_pb2.CountTokensRequest(width=width, height=height, max_pixels=max_pixels)
        return convert.token_count(self._link.one(self._stub.CountTokens, request).count)

    def encode(self, digest: str, max_pixels: int | None = None, fingerprint: str = "") -> Rows:
        """The rows of a stored image, whole and checked: order, count, length, XXH3, digest.

        `fingerprint` refuses an encoder of another model. Raises RowsMismatch for rows that are not what
        their header announced.
        """
        request = encoder_pb2.EncodeRequest(
            digest=digest, plan=encoder_pb2.EncodePlan(max_pixels=max_pixels), fingerprint=fingerprint
        )
        assembly = Assembly()
        with closing(self._link.many(self._stub.Encode, request)) as messages:
            for message in messages:
                assembly.take(message)
        return assembly.rows()

    def delete(self, digest: str) -> Deleted:
        """Remove an image and the rows of its pixels. What is not there is removed with zeros."""
        request = encoder_pb2.DeleteImageRequest(digest=digest)
        return Deleted(**convert.flat(self._link.one(self._stub.DeleteImage, request)))

    def cache_stats(self) -> CacheStats:
        """What the store holds and how often it was hit."""
        reply = self._link.one(self._stub.GetCacheStats, encoder_pb2.GetCacheStatsRequest())
        plain = convert.flat(reply)
        return CacheStats(**{name: plain[name] for name in CacheStats.__dataclass_fields__})

    def info(self) -> ServerInfo:
        """Model, state, limits, load and features."""
        reply = self._link.one(self._stub.GetServerInfo, encoder_pb2.GetServerInfoRequest())
        return convert.server_info(reply, encoder_pb2.ServingState)
