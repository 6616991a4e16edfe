"""The decoder as its service sees it: loading, then answering; its limits and its state in one place.

Calls that come before the model is ready are refused with NotReady. Knows no protobuf.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

import structlog

from decoder_svc.answer import Answerer
from decoder_svc.budget.budget import ServerBudget
from decoder_svc.encoders.fleet import EncoderStatus
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.engine.protocol import Engine, EngineLoad
from decoder_svc.request import ChatRequest
from fovea.contract.answer import Event, Finished, Started, Text
from fovea.contract.count import Count
from fovea.contract.errors import ImageTooLarge, InvalidArgument, NotReady, Violation
from fovea.contract.ids import is_digest
from fovea.contract.image import StoredImage
from fovea.contract.receipt import Receipt
from fovea.contract.rows import RowDtype, RowLayout
from fovea.deadline import Deadline

FEATURES: tuple[str, ...] = (
    "generate", "complete", "count_tokens", "put_image", "max_pixels", "response_format", "logprobs",
    "max_visual_tokens", "detail", "reduction", "repeat_policy", "alternatives",
)  # fmt: skip
INFO_S = 2.0
log = structlog.get_logger()


@dataclass(frozen=True)
class DecoderLimits:
    """The limits of a decoder, as GetServerInfo tells them."""

    max_message_bytes: int
    max_context: int
    max_new_tokens: int
    default_max_new_tokens: int
    max_images: int
    default_max_pixels: int
    max_pixels: int
    min_pixels: int
    max_running: int
    max_waiting: int
    max_stop_strings: int
    max_image_bytes: int
    row_cache_bytes: int
    row_cache_s: int
    max_format_bytes: int
    idle_s: int
    encoder_timeout_s: int
    max_format_s: float
    max_format_memory_bytes: int
    format_workers: int


@dataclass(frozen=True)
class DecoderDescription:
    """What does not change while the process runs."""

    model: str
    fingerprint: str
    engine: str
    dtype: str
    kv_bytes_per_token: int
    limits: DecoderLimits
    budget: ServerBudget


@dataclass(frozen=True)
class DecoderStatus:
    """What GetServerInfo tells."""

    version: str
    card: DecoderDescription
    layout: RowLayout | None
    load: EngineLoad | None
    features: tuple[str, ...]
    state: str
    progress: float
    attention: str
    encoders: list[EncoderStatus]


@dataclass
class Unfinished:
    """What was spent on an answer that has not ended yet. All zero once it has: its receipt tells."""

    text_tokens: int = 0
    visual_tokens: int = 0
    output_tokens: int = 0

    def note(self, event: Event) -> None:
        if isinstance(event, Started):
            self.visual_tokens = event.visual_tokens
            self.text_tokens = event.prompt_tokens - event.visual_tokens
        elif isinstance(event, Text):
            self.output_tokens += len(event.token_ids)
        else:
            self.text_tokens = self.visual_tokens = self.output_tokens = 0


class Record(Protocol):
    """Whoever counts what was spent."""

    def answered(self, receipt: Receipt) -> None: ...

    def unfinished(self, spent: Unfinished) -> None: ...


class ServiceState:
    """One decoder process. `open` lets calls through once the engine has answered a dummy."""

    def __init__(
        self,
        card: DecoderDescription,
        engine: Engine,
        pool: EncoderPool,
        record: Record,
    ) -> None:
        self.card = card
        self.progress = 0.0
        self.draining = False
        self.attention = ""
        self._engine = engine
        self._pool = pool
        self._record = record
        self._answerer: Answerer | None = None

    def open(self, answerer: Answerer, attention: str) -> None:
        self._answerer = answerer
        self.attention = attention
        self.progress = 1.0

    @property
    def state(self) -> str:
        if self.draining:
            return "DRAINING"
        if self._answerer is None:
            return "LOADING"
        return "SERVING" if self._engine.healthy else "FAILED"

    def _ready(self) -> Answerer:
        if self._answerer is None:
            raise NotReady(self.progress)
        return self._answerer

    async def answer(self, ask: ChatRequest, deadline: Deadline) -> AsyncGenerator[Event, None]:
        """As `Answerer.answer`; counts and logs every receipt, or what was spent where there is none."""
        answerer = self._ready()
        spent = Unfinished()
        with self._pool.held() as encoders:
            try:
                async with aclosing(answerer.answer(ask, encoders, deadline)) as events:
                    async for event in events:
                        spent.note(event)
                        if isinstance(event, Finished):
                            self._record.answered(event.receipt)
                            log.info("receipt", **event.receipt.as_json())
                        yield event
            finally:
                if spent.output_tokens:
                    self._record.unfinished(spent)
                    log.info("unfinished", **vars(spent))

    async def count(self, ask: ChatRequest, deadline: Deadline) -> Count:
        answerer = self._ready()
        with self._pool.held() as encoders:
            return await answerer.count(ask, encoders, deadline)

    def check_size(self, byte_size: int) -> None:
        """Raises ImageTooLarge."""
        limit = self.card.limits.max_image_bytes
        if byte_size > limit:
            raise ImageTooLarge(byte_size, limit)

    async def put(self, digest: str, pieces: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        """Store on the owner of the digest; without a digest the bytes are gathered to find it."""
        bounded = self._bounded(pieces)
        if not digest:
            data = b"".join([piece async for piece in bounded])
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            bounded = _one(data)
        else:
            _check_digest("header.digest", digest)
        with self._pool.held() as encoders:
            return await encoders.put(digest, bounded, deadline)

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        """Raises IMAGE_NOT_STORED where the owner of the digest does not hold it."""
        _check_digest("digest", digest)
        with self._pool.held() as encoders:
            return await encoders.describe(digest, deadline)

    async def _bounded(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for piece in pieces:
            size += len(piece)
            self.check_size(size)
            yield piece

    def load(self) -> EngineLoad | None:
        return self._engine.load() if self.state == "SERVING" else None

    @property
    def row_layout(self) -> RowLayout | None:
        """One row of this model in bf16; None until the model is loaded."""
        shape = self._engine.layout if self.state == "SERVING" else None
        return RowLayout(shape.width, shape.levels, RowDtype.BF16) if shape else None

    async def status(self) -> DecoderStatus:
        return DecoderStatus(
            version=version("fovea"),
            card=self.card,
            layout=self.row_layout,
            load=self.load(),
            features=FEATURES,
            state=self.state,
            progress=self.progress,
            attention=self.attention,
            encoders=await self._pool.states(Deadline.after(INFO_S)),
        )


def _check_digest(field: str, digest: str) -> None:
    if not is_digest(digest):
        what = "must be sha256: and 64 lower-case hexadecimal digits"
        raise InvalidArgument(f"{field} {what}", violations=[Violation(field, what)], actual=digest[:80])


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data
