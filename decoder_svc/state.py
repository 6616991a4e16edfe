"""The state of the decoder process: loading, serving, draining; its limits and description.

Calls before the model is ready are refused with NotReady. Independent of protobuf.
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
    """The limits of a decoder, as GetServerInfo reports them."""

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
    """Facts that do not change while the process runs."""

    model: str
    fingerprint: str
    engine: str
    dtype: str
    kv_bytes_per_token: int
    limits: DecoderLimits
    budget: ServerBudget


@dataclass(frozen=True)
class DecoderStatus:
    """What GetServerInfo reports."""

    version: str
    description: DecoderDescription
    layout: RowLayout | None
    load: EngineLoad | None
    features: tuple[str, ...]
    state: str
    progress: float
    attention: str
    encoders: list[EncoderStatus]


@dataclass
class Unfinished:
    """Tokens spent on an unfinished answer. All zero once it has finished: the receipt has the totals."""

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


@dataclass
class LoadingProgress:
    """Share of the model that is loaded, 0 to 1. Reaches 1 once the dummy request is answered."""

    share: float = 0.0

    def update(self, loaded: int, total: int) -> None:
        self.share = 0.99 * loaded / max(1, total)


class UsageRecorder(Protocol):
    """Counts the tokens and cost of answers."""

    def answered(self, receipt: Receipt) -> None: ...

    def unfinished(self, spent: Unfinished) -> None: ...


class ServiceState:
    """State of a decoder process. `open` admits calls once the engine has answered a dummy request."""

    def __init__(
        self,
        description: DecoderDescription,
        engine: Engine,
        pool: EncoderPool,
        recorder: UsageRecorder,
        loading: LoadingProgress,
    ) -> None:
        self.description = description
        self.loading = loading
        self.draining = False
        self.attention = ""
        self._engine = engine
        self._pool = pool
        self._recorder = recorder
        self._answerer: Answerer | None = None

    def open(self, answerer: Answerer, attention: str) -> None:
        self._answerer = answerer
        self.attention = attention
        self.loading.share = 1.0

    @property
    def state(self) -> str:
        if self.draining:
            return "DRAINING"
        if self._answerer is None:
            return "LOADING"
        return "SERVING" if self._engine.healthy else "FAILED"

    def _ready(self) -> Answerer:
        if self._answerer is None:
            raise NotReady(self.loading.share)
        return self._answerer

    async def answer(self, request: ChatRequest, deadline: Deadline) -> AsyncGenerator[Event, None]:
        """As `Answerer.answer`. Counts and logs every receipt, or the tokens spent if there is no receipt."""
        answerer = self._ready()
        spent = Unfinished()
        with self._pool.held() as encoders:
            try:
                async with aclosing(answerer.answer(request, encoders, deadline)) as events:
                    async for event in events:
                        spent.note(event)
                        if isinstance(event, Finished):
                            self._recorder.answered(event.receipt)
                            log.info("receipt", **event.receipt.as_json())
                        yield event
            finally:
                if spent.output_tokens:
                    self._recorder.unfinished(spent)
                    log.info("unfinished", **vars(spent))

    async def count(self, request: ChatRequest, deadline: Deadline) -> Count:
        answerer = self._ready()
        with self._pool.held() as encoders:
            return await answerer.count(request, encoders, deadline)

    def check_size(self, byte_size: int) -> None:
        """Raises ImageTooLarge."""
        limit = self.description.limits.max_image_bytes
        if byte_size > limit:
            raise ImageTooLarge(byte_size, limit)

    async def put(self, digest: str, chunks: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        """Store an image on the owner of its digest. Without a digest the bytes are buffered to hash them."""
        bounded = self._bounded(chunks)
        if not digest:
            data = b"".join([chunk async for chunk in bounded])
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            bounded = _as_stream(data)
        else:
            _check_digest("header.digest", digest)
        with self._pool.held() as encoders:
            return await encoders.put(digest, bounded, deadline)

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        """Raises IMAGE_NOT_STORED if the owner of the digest does not hold the image."""
        _check_digest("digest", digest)
        with self._pool.held() as encoders:
            return await encoders.describe(digest, deadline)

    async def _bounded(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            self.check_size(size)
            yield chunk

    def load(self) -> EngineLoad | None:
        return self._engine.load() if self.state == "SERVING" else None

    @property
    def row_layout(self) -> RowLayout | None:
        """The bf16 row layout of this model; None until the model is loaded."""
        shape = self._engine.shape if self.state == "SERVING" else None
        return RowLayout(shape.width, shape.levels, RowDtype.BF16) if shape else None

    async def status(self) -> DecoderStatus:
        return DecoderStatus(
            version=version("fovea"),
            description=self.description,
            layout=self.row_layout,
            load=self.load(),
            features=FEATURES,
            state=self.state,
            progress=self.loading.share,
            attention=self.attention,
            encoders=await self._pool.states(Deadline.after(INFO_S)),
        )


def _check_digest(field: str, digest: str) -> None:
    if not is_digest(digest):
        what = "must be sha256: and 64 lower-case hexadecimal digits"
        raise InvalidArgument(f"{field} {what}", violations=[Violation(field, what)], actual=digest[:80])


async def _as_stream(data: bytes) -> AsyncIterator[bytes]:
    yield data
