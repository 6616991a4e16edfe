"""The clients of the decoder, blocking and asyncio: store images, ask, count, inspect.

Files are stored first and then referenced by id, so an image travels to the servers only once. The sequence
of calls is in `fovea.client.steps`; the two classes differ only in how they wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, closing
from typing import Any, TypedDict, Unpack

from fovea.client import steps
from fovea.client.answer import AnswerBuilder
from fovea.client.connection import TIMEOUT_S, AsyncConnection, Connection
from fovea.client.messages import (
    Images,
    Message,
    Options,
    RequestDraft,
    Sized,
    Source,
    draft_request,
    id_of,
    is_light,
)
from fovea.client.naming import asking
from fovea.client.sources import File
from fovea.client.tls import Security, Tls
from fovea.client.upload import FileUpload, Progress, unheard
from fovea.contract.answer import Answer, Event, event_from_proto
from fovea.contract.cache import Deletion
from fovea.contract.count import Count
from fovea.contract.errors import Unreachable
from fovea.contract.image import StoredImage
from fovea.contract.info import ServerInfo
from fovea.contract.usage import Anomaly, Dimension, Outcome, UsageFilter, UsageRecord, UsageSummary
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc, usage_pb2_grpc

DEFAULT_DECODER = "127.0.0.1:50052"
Prompt = str | Message | Sequence[Message]
"""A text about images, or a conversation whose messages carry their own images."""


def _ignore_text(text: str) -> None:
    """The default `on_text`."""


class UsageFilters(TypedDict, total=False):
    """Which records of the ledger to read. Times are in seconds since the epoch: `start` is included, `end`
    is not.
    """

    tenant: str
    start: float | None
    end: float | None
    outcome: Outcome | str | None


def usage_filter(**filters: Unpack[UsageFilters]) -> UsageFilter:
    """Raises ValueError for an unknown outcome."""
    outcome = filters.get("outcome")
    return UsageFilter(
        filters.get("start"),
        filters.get("end"),
        filters.get("tenant", ""),
        Outcome(outcome) if outcome else None,
    )


def _dimension(by: Dimension | str | None) -> Dimension | None:
    return Dimension(by) if by else None


async def _drafted(question: Prompt, images: Sized, options: Options) -> RequestDraft:
    """The draft of a request, made in a thread if files are read or much is hashed."""
    if is_light(question, images, options):
        return draft_request(question, images, **options)
    return await asyncio.to_thread(draft_request, question, images, **options)


class _Stub:
    """The calls of both services of a decoder."""

    def __init__(self, channel: Any) -> None:
        for service in (decoder_pb2_grpc.DecoderServiceStub, usage_pb2_grpc.UsageServiceStub):
            vars(self).update(vars(service(channel)))


class Client(Connection):
    """A client of decoders. `token` is sent as a bearer token, to other machines only with `tls`.

    `address` is `host:port`, several of them separated by commas, or `dns:///name:port`, where all addresses
    of the name are decoders. Requests about the same image go to the same decoder while it answers, so that
    its cached prefix is used. `timeout_s` bounds every call. Without `tls` the connection is in plain text.
    """

    def __init__(
        self,
        address: str = DEFAULT_DECODER,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        tls: Tls | None = None,
    ) -> None:
        super().__init__(address, token, timeout_s, _Stub, tls)

    def put(self, image: File, progress: Progress = unheard) -> StoredImage:
        """Store a file. A stored image is not sent again. `progress` is called with the bytes sent."""
        return self._run(steps.put(decoder_pb2, FileUpload.of(image), progress))

    def describe(self, image: Source) -> StoredImage:
        """The facts of a stored image, given by id or as a file. Raises ImageNotStored."""
        return self._run(steps.describe(decoder_pb2, id_of(image)))

    def ask(
        self,
        question: Prompt,
        images: Images = (),
        *,
        on_text: Callable[[str], None] = _ignore_text,
        **options: Unpack[Options],
    ) -> Answer:
        """The complete answer; `on_text` is called with each delta. Arguments as in `stream`.

        If one of several decoders dies before the first token of its answer, another is asked, once. Later
        the call fails: another answer might differ, and its tokens would be spent twice. Both attempts
        together have the time of a call.
        """
        begun = time.monotonic()
        builder = AnswerBuilder(on_text)
        try:
            return self._gathered(builder, question, images, options)
        except Unreachable:
            if not (self._is_several and builder.is_without_text):
                raise
        return self._since(begun)._gathered(AnswerBuilder(on_text), question, images, options)

    def _gathered(self, builder: AnswerBuilder, question: Prompt, images: Images, options: Options) -> Answer:
        with closing(self.stream(question, images, **options)) as events:
            for event in events:  # to the end: leaving at the last message would cancel the call
                builder.take(event)
        return builder.answer()

    def stream(
        self, question: Prompt, images: Images = (), **options: Unpack[Options]
    ) -> Generator[Event, None, None]:
        """Yield Started, any number of Text, then Finished. Closing it cancels the request on the server.

        An image that was evicted since it was stored is uploaded again, unless only its id is known here.
        Raises the errors of `fovea.client.errors`, and OSError for an unreadable file.
        """
        draft = draft_request(question, images, **options)
        with closing(self._run(steps.generate(draft))) as messages, asking(draft.names):
            yield from filter(None, map(event_from_proto, messages))

    def count(self, question: Prompt, images: Sized = (), **options: Unpack[Options]) -> Count:
        """The cost of the request, and under other budgets. Does not run the language model.

        Files are stored first; a `Size` stands for an image that is not available.
        """
        return self._run(steps.count(draft_request(question, images, **options)))

    def delete(self, image: Source) -> Deletion:
        """Delete an image, given by id or as a file, and the rows of its pixels, on every encoder."""
        return self._run(steps.delete_everywhere(id_of(image)))

    def purge(self, tenant: str) -> Deletion:
        """Delete everything of a tenant, on every encoder. Needs a token of role operator."""
        return self._run(steps.purge_everywhere(tenant))

    def summarize_usage(
        self, by: Dimension | str | None = None, **filters: Unpack[UsageFilters]
    ) -> list[UsageSummary]:
        """Sums over the ledger by tenant, tier, hour, model or kind; without `by` a single sum."""
        return self._run(steps.summarize_usage(_dimension(by), usage_filter(**filters)))

    def list_usage(self, **filters: Unpack[UsageFilters]) -> Generator[UsageRecord, None, None]:
        """Yield the records of the ledger, newest first. Pages are fetched as needed."""
        chosen, token = usage_filter(**filters), ""
        while True:
            page = self._run(steps.usage_page(chosen, token))
            yield from page.records
            if not (token := page.next_page):
                return

    def get_usage(self, request_id: str) -> list[UsageRecord]:
        """The records of a request id, newest first; also of a request that was cancelled or failed."""
        return self._run(steps.get_usage(request_id))

    def list_anomalies(self, tenant: str = "") -> list[Anomaly]:
        """Changes in the use of tenants that the decoder has found since its start, newest first."""
        return self._run(steps.list_anomalies(tenant))

    def info(self) -> ServerInfo:
        """Model, state, limits, load, features and encoders."""
        return self._run(steps.info(decoder_pb2))


class AsyncClient(AsyncConnection):
    """Like `Client`, for asyncio.

    Files are hashed and images shrunk in a thread; uploads are read piece by piece. `progress` and `on_text`
    are called in the event loop. Cancelling the task of a call, or closing a stream, cancels the request on
    the server.
    """

    def __init__(
        self,
        address: str = DEFAULT_DECODER,
        token: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        tls: Security = None,
    ) -> None:
        super().__init__(address, token, timeout_s, _Stub, tls)

    async def put(self, image: File, progress: Progress = unheard) -> StoredImage:
        """Like `Client.put`."""
        upload = await asyncio.to_thread(FileUpload.of, image)
        return await self._run(steps.put(decoder_pb2, upload, progress))

    async def describe(self, image: Source) -> StoredImage:
        """Like `Client.describe`."""
        digest = await asyncio.to_thread(id_of, image)
        return await self._run(steps.describe(decoder_pb2, digest))

    async def ask(
        self,
        question: Prompt,
        images: Images = (),
        *,
        on_text: Callable[[str], None] = _ignore_text,
        **options: Unpack[Options],
    ) -> Answer:
        """Like `Client.ask`."""
        begun = time.monotonic()
        builder = AnswerBuilder(on_text)
        try:
            return await self._gathered(builder, question, images, options)
        except Unreachable:
            if not (self._is_several and builder.is_without_text):
                raise
        return await self._since(begun)._gathered(AnswerBuilder(on_text), question, images, options)

    async def _gathered(
        self, builder: AnswerBuilder, question: Prompt, images: Images, options: Options
    ) -> Answer:
        async with aclosing(self.stream(question, images, **options)) as events:
            async for event in events:
                builder.take(event)
        return builder.answer()

    async def stream(
        self, question: Prompt, images: Images = (), **options: Unpack[Options]
    ) -> AsyncGenerator[Event, None]:
        """Like `Client.stream`."""
        draft = await _drafted(question, images, options)
        async with aclosing(await self._run(steps.generate(draft))) as messages:
            with asking(draft.names):
                async for message in messages:
                    event = event_from_proto(message)
                    if event is not None:
                        yield event

    async def count(self, question: Prompt, images: Sized = (), **options: Unpack[Options]) -> Count:
        """Like `Client.count`."""
        draft = await _drafted(question, images, options)
        return await self._run(steps.count(draft))

    async def delete(self, image: Source) -> Deletion:
        """Like `Client.delete`."""
        digest = await asyncio.to_thread(id_of, image)
        return await self._run(steps.delete_everywhere(digest))

    async def purge(self, tenant: str) -> Deletion:
        """Like `Client.purge`."""
        return await self._run(steps.purge_everywhere(tenant))

    async def summarize_usage(
        self, by: Dimension | str | None = None, **filters: Unpack[UsageFilters]
    ) -> list[UsageSummary]:
        """Like `Client.summarize_usage`."""
        return await self._run(steps.summarize_usage(_dimension(by), usage_filter(**filters)))

    async def list_usage(self, **filters: Unpack[UsageFilters]) -> AsyncGenerator[UsageRecord, None]:
        """Like `Client.list_usage`."""
        chosen, token = usage_filter(**filters), ""
        while True:
            page = await self._run(steps.usage_page(chosen, token))
            for record in page.records:
                yield record
            if not (token := page.next_page):
                return

    async def get_usage(self, request_id: str) -> list[UsageRecord]:
        """Like `Client.get_usage`."""
        return await self._run(steps.get_usage(request_id))

    async def list_anomalies(self, tenant: str = "") -> list[Anomaly]:
        """Like `Client.list_anomalies`."""
        return await self._run(steps.list_anomalies(tenant))

    async def info(self) -> ServerInfo:
        """Like `Client.info`."""
        return await self._run(steps.info(decoder_pb2))
