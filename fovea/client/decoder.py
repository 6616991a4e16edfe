"""The client of the decoder, the front door: store images, ask, count, look.

Files are stored first and then named by their id, so an image that the servers know travels only once. One
object serves many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from types import TracebackType

from fovea.client import convert
from fovea.client.connection import TIMEOUT_S, Connection
from fovea.client.errors import AnswerIncomplete
from fovea.client.messages import GREEDY, Draft, Message, Question, Sampling, Source
from fovea.client.upload import Progress, Upload, unheard
from fovea.client.values import Answer, Count, Event, Finished, ServerInfo, Started, Text
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.errors import FoveaError
from fovea.facts import Stored

DEFAULT_DECODER = "127.0.0.1:50052"


class Client:
    """A client of one decoder. `token` goes along as a bearer token; `timeout_s` bounds every call."""

    def __init__(
        self, address: str = DEFAULT_DECODER, token: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._link = Connection(address, token, timeout_s)
        self._stub = decoder_pb2_grpc.DecoderServiceStub(self._link.channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._link.close()

    def put(self, image: Source, progress: Progress = unheard) -> Stored:
        """Store a file; an image that is held already is not sent again. `progress` hears the bytes sent."""
        return self._put(Upload.of(image), progress)

    def ask(
        self,
        question: str | Sequence[Message],
        images: Sequence[Source] = (),
        *,
        max_pixels: int | None = None,
        sampling: Sampling = GREEDY,
        request_id: str = "",
        on_text: Callable[[str], None] = lambda text: None,
    ) -> Answer:
        """The whole answer; `on_text` hears each piece as it comes. Arguments as in `stream`."""
        pieces: list[str] = []
        started: Started | None = None
        finished: Finished | None = None
        events = self.stream(
            question, images, max_pixels=max_pixels, sampling=sampling, request_id=request_id
        )
        with closing(events):
            for event in events:  # to the very end: leaving at the closing message would cancel the call
                if isinstance(event, Started):
                    started = event
                elif isinstance(event, Text):
                    pieces.append(event.text)
                    on_text(event.text)
                else:
                    finished = event
        if started is None or finished is None:
            raise AnswerIncomplete
        text, reason = "".join(pieces), finished.finish_reason
        return Answer(text, reason, started.model, started.request_id, finished.receipt)

    def stream(
        self,
        question: str | Sequence[Message],
        images: Sequence[Source] = (),
        *,
        max_pixels: int | None = None,
        sampling: Sampling = GREEDY,
        request_id: str = "",
    ) -> Generator[Event, None, None]:
        """One Started, Texts, one Finished. Closing it early cancels the request on the server.

        `question` is a text about `images`, or a whole conversation whose messages carry their own. An image
        that a server has let go since it was stored is uploaded once more, unless only its id is known here.
        """
        draft = Question(question, images, max_pixels, sampling, request_id).draft()
        self._store(draft)
        events = self._generate(draft)
        try:
            first = next(events, None)
        except FoveaError as error:
            if error.reason != "IMAGE_NOT_STORED" or not draft.uploads:
                raise
            self._store(draft)
            events = self._generate(draft)
            first = next(events, None)
        with closing(events):
            if first is not None:
                yield first
                yield from events

    def count(
        self,
        question: str | Sequence[Message],
        images: Sequence[Source] = (),
        *,
        max_pixels: int | None = None,
        sampling: Sampling = GREEDY,
    ) -> Count:
        """What the request would cost; runs no model. Files are stored on the way."""
        draft = Question(question, images, max_pixels, sampling).draft()
        self._store(draft)
        request = decoder_pb2.CountTokensRequest(request=draft.request)
        return convert.count(self._link.one(self._stub.CountTokens, request))

    def info(self) -> ServerInfo:
        """Model, state, limits, load, features and encoders."""
        reply = self._link.one(self._stub.GetServerInfo, decoder_pb2.GetServerInfoRequest())
        return convert.server_info(reply, decoder_pb2.ServingState)

    def _put(self, upload: Upload, progress: Progress = unheard) -> Stored:
        requests = upload.requests(decoder_pb2.PutImageHeader, decoder_pb2.PutImageRequest, progress)
        return convert.stored(self._link.one(self._stub.PutImage, requests))

    def _store(self, draft: Draft) -> None:
        for upload in draft.uploads:
            self._put(upload)

    def _generate(self, draft: Draft) -> Generator[Event, None, None]:
        with closing(self._link.many(self._stub.Generate, draft.request)) as messages:
            for message in messages:
                event = convert.event(message)
                if event is not None:
                    yield event
