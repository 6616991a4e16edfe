"""The clients of the decoder, the front door: store images, ask, count, look. One blocks, the other awaits.

Files are stored first and then named by their id, so an image that the servers know travels only once. What
happens in which order is in `fovea.client.steps`; the two classes differ in how they wait and in nothing
else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import aclosing, closing
from typing import Unpack

from fovea.client import steps
from fovea.client.answer import AnswerBuilder
from fovea.client.connection import TIMEOUT_S, AsyncConnection, Connection
from fovea.client.messages import Images, Message, Options, Question, Sized, Source, id_of
from fovea.client.naming import asking
from fovea.client.sources import File
from fovea.client.upload import FileUpload, Progress, unheard
from fovea.client.values import ServerInfo
from fovea.contract.answer import Answer, Event, event_from_proto
from fovea.contract.count import Count
from fovea.contract.image import StoredImage
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc

DEFAULT_DECODER = "127.0.0.1:50052"
Asked = str | Message | Sequence[Message]
"""A text about some images, or a whole conversation whose messages carry their own."""


def _nothing(text: str) -> None:
    """For who does not listen."""


class Client(Connection):
    """A client of one decoder. `token` goes along as a bearer token; `timeout_s` bounds every call."""

    def __init__(
        self, address: str = DEFAULT_DECODER, token: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__(address, token, timeout_s, decoder_pb2_grpc.DecoderServiceStub)

    def put(self, image: File, progress: Progress = unheard) -> StoredImage:
        """Store a file; an image that is held already is not sent again. `progress` hears the bytes sent."""
        return self._run(steps.put(decoder_pb2, FileUpload.of(image), progress))

    def describe(self, image: Source) -> StoredImage:
        """What is known of a stored image, given by its id or as a file. Raises ImageNotStored."""
        return self._run(steps.describe(decoder_pb2, id_of(image)))

    def ask(
        self,
        question: Asked,
        images: Images = (),
        *,
        on_text: Callable[[str], None] = _nothing,
        **options: Unpack[Options],
    ) -> Answer:
        """The whole answer; `on_text` hears each piece as it comes. Arguments as in `stream`."""
        gathered = AnswerBuilder(on_text)
        with closing(self.stream(question, images, **options)) as events:
            for event in events:  # to the very end: leaving at the closing message would cancel the call
                gathered.take(event)
        return gathered.answer()

    def stream(
        self, question: Asked, images: Images = (), **options: Unpack[Options]
    ) -> Generator[Event, None, None]:
        """One Started, Texts, one Finished. Closing it early cancels the request on the server.

        An image that a server has let go since it was stored is uploaded once more, unless only its id is
        known here. Raises the errors of `fovea.client.errors`, and OSError for a file that cannot be read.
        """
        draft = Question(question, images, **options).draft()
        with closing(self._run(steps.generate(draft))) as messages, asking(draft.names):
            for message in messages:
                event = event_from_proto(message)
                if event is not None:
                    yield event

    def count(self, question: Asked, images: Sized = (), **options: Unpack[Options]) -> Count:
        """What the request would cost, and what it would under other budgets; runs no language model.

        Files are stored on the way; a `Size` counts an image that is not at hand.
        """
        return self._run(steps.count(Question(question, images, **options).draft()))

    def info(self) -> ServerInfo:
        """Model, state, limits, load, features and encoders."""
        return self._run(steps.info(decoder_pb2))


class AsyncClient(AsyncConnection):
    """As `Client`, for asyncio. Files get their ids and pictures are shrunk in a thread; what is sent is read
    a piece at a time. `progress` and `on_text` are called in the event loop. Ending the task of a call, or
    closing a stream, cancels the request on the server."""

    def __init__(
        self, address: str = DEFAULT_DECODER, token: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        super().__init__(address, token, timeout_s, decoder_pb2_grpc.DecoderServiceStub)

    async def put(self, image: File, progress: Progress = unheard) -> StoredImage:
        """As `Client.put`."""
        upload = await asyncio.to_thread(FileUpload.of, image)
        return await self._run(steps.put(decoder_pb2, upload, progress))

    async def describe(self, image: Source) -> StoredImage:
        """As `Client.describe`."""
        digest = await asyncio.to_thread(id_of, image)
        return await self._run(steps.describe(decoder_pb2, digest))

    async def ask(
        self,
        question: Asked,
        images: Images = (),
        *,
        on_text: Callable[[str], None] = _nothing,
        **options: Unpack[Options],
    ) -> Answer:
        """As `Client.ask`."""
        gathered = AnswerBuilder(on_text)
        async with aclosing(self.stream(question, images, **options)) as events:
            async for event in events:
                gathered.take(event)
        return gathered.answer()

    async def stream(
        self, question: Asked, images: Images = (), **options: Unpack[Options]
    ) -> AsyncGenerator[Event, None]:
        """As `Client.stream`."""
        draft = await asyncio.to_thread(Question(question, images, **options).draft)
        async with aclosing(await self._run(steps.generate(draft))) as messages:
            with asking(draft.names):
                async for message in messages:
                    event = event_from_proto(message)
                    if event is not None:
                        yield event

    async def count(self, question: Asked, images: Sized = (), **options: Unpack[Options]) -> Count:
        """As `Client.count`."""
        draft = await asyncio.to_thread(Question(question, images, **options).draft)
        return await self._run(steps.count(draft))

    async def info(self) -> ServerInfo:
        """As `Client.info`."""
        return await self._run(steps.info(decoder_pb2))
