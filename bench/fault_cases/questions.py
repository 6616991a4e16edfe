"""Questions about drawn pictures, a caller that asks them, and the answers compared with a reference.

Half of the questions are about pictures that no service has seen, 30 % name an uploaded picture by id alone,
the others send a known picture again. By default the caller uses a stub without retries, so that no failure
of a service is hidden.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import grpc
import numpy as np
from PIL import Image

from fovea.client.connection import failure
from fovea.contract.sampling import ResponseFormat, format_to_proto
from fovea.decoder.v1 import decoder_pb2 as pb
from fovea.decoder.v1 import decoder_pb2_grpc

SIZE = (96, 128)
TEXTS = ("What is in the picture?", "Which colour is largest?", "Read the text.")
KNOWN = 12
"""Pictures by id, and as many that are sent again."""
NEW_TOKENS = 6
CALL_S = 60.0
AT_ONCE = 8
MIX = ("new", "id", "new", "again", "new", "id", "new", "again", "new", "id")


@dataclass(frozen=True)
class Question:
    """A text, about a picture unless it is empty. The picture travels as bytes or as an id."""

    text: str
    picture: bytes = b""
    by_id: bool = False

    @property
    def digest(self) -> str:
        return digest_of(self.picture)

    def request(self, new_tokens: int = NEW_TOKENS) -> pb.GenerateRequest:
        image = pb.Image(digest=self.digest) if self.by_id else pb.Image(data=self.picture)
        parts = [pb.Part(image=image)] * bool(self.picture) + [pb.Part(text=self.text)]
        message = pb.Message(role=pb.ROLE_USER, parts=parts)
        return pb.GenerateRequest(messages=[message], sampling=pb.Sampling(max_new_tokens=new_tokens))


@dataclass(frozen=True)
class Reply:
    """What must be equal for equal questions. `rows` is the digest of the rows; empty for a prefix hit."""

    text: str
    tokens: tuple[int, ...]
    rows: str

    def differs(self, other: Reply) -> bool:
        rows = bool(self.rows and other.rows) and self.rows != other.rows
        return rows or (self.text, self.tokens) != (other.text, other.tokens)


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def picture(*seed: int) -> bytes:
    """A PNG of coloured blocks; another one for each seed."""
    height, width = SIZE
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks.repeat(16, 0).repeat(16, 1)).save(out, "PNG")
    return out.getvalue()


class Questions:
    """The questions of a run by number. `known` pictures must be uploaded before."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.known = [picture(seed, 0, number) for number in range(KNOWN)]
        self.again = [picture(seed, 1, number) for number in range(KNOWN)]

    def __getitem__(self, number: int) -> Question:
        text, kind = TEXTS[number % len(TEXTS)], MIX[number % len(MIX)]
        if kind == "new":
            return Question(text, picture(self._seed, 2, number))
        pictures = self.known if kind == "id" else self.again
        return Question(text, pictures[number // len(MIX) % KNOWN], by_id=kind == "id")


ChannelOptions = Sequence[tuple[str, str | int]]
NO_RETRIES: ChannelOptions = (("grpc.enable_retries", 0),)


class Caller:
    """Asks a decoder, by default without retries. Failures are FoveaErrors."""

    def __init__(self, address: str, options: ChannelOptions = NO_RETRIES) -> None:
        own = (*options, ("grpc.use_local_subchannel_pool", 1))
        self._address = address
        self._channel = grpc.aio.insecure_channel(address, options=own)
        self.stub = decoder_pb2_grpc.DecoderServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._channel.close()

    async def ask(self, question: Question, form: ResponseFormat | None = None) -> Reply:
        message = pb.CompleteRequest(request=question.request())
        if form is not None:
            message.request.response_format.CopyFrom(format_to_proto(form))
        with self.typed_failures():
            reply = await self.stub.Complete(message, timeout=CALL_S)
        rows = "".join(image.rows_digest for image in reply.receipt.images)
        return Reply(reply.text, tuple(reply.token_ids), rows)

    async def stream(self, question: Question, new_tokens: int) -> None:
        """Read an answer of up to `new_tokens` as it is computed."""
        with self.typed_failures():
            async for _ in self.stub.Generate(question.request(new_tokens), timeout=CALL_S):
                pass

    async def put(self, data: bytes) -> None:
        with self.typed_failures():
            await self.stub.PutImage(_upload(data), timeout=CALL_S)

    async def endless_upload(self) -> None:
        """An upload that neither ends nor sends more than its header."""
        with self.typed_failures():
            await self.stub.PutImage(_endless(), timeout=CALL_S)

    @contextmanager
    def typed_failures(self) -> Iterator[None]:
        """Raise the FoveaError of a failed call."""
        try:
            yield
        except grpc.aio.AioRpcError as failed:
            raise failure(failed, self._address) from failed


async def _upload(data: bytes) -> AsyncIterator[pb.PutImageRequest]:
    yield pb.PutImageRequest(header=pb.PutImageHeader(digest=digest_of(data)), data=data)


async def _endless() -> AsyncIterator[pb.PutImageRequest]:
    yield pb.PutImageRequest(header=pb.PutImageHeader(digest=digest_of(b"")))
    await asyncio.Event().wait()


class Answers:
    """Every reply of a run, to be compared with those of services that saw no fault."""

    def __init__(self) -> None:
        self._replies: dict[Question, list[Reply]] = {}

    def note(self, question: Question, reply: Reply) -> None:
        self._replies.setdefault(question, []).append(reply)

    @property
    def count(self) -> int:
        return sum(map(len, self._replies.values()))

    async def wrong(self, reference: Caller, pictures: Sequence[bytes] = ()) -> int:
        """The replies that differ from those of the reference, which gets the `pictures` first."""
        for data in pictures:
            await reference.put(data)
        turns = asyncio.Semaphore(AT_ONCE)

        async def compare(question: Question, replies: list[Reply]) -> int:
            async with turns:
                expected = await reference.ask(question)
            return sum(reply.differs(expected) for reply in replies)

        return sum(await asyncio.gather(*(compare(*asked) for asked in self._replies.items())))
