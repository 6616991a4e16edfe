"""Replaces an encoder that fails by the next in the image's rank order.

An encoder is replaced if it does not answer, is not ready, serves another model, is too old for the call, or
sends rows that fail a check. A refusal that another encoder would repeat, such as a damaged image or a full
queue, is final. An attempt leaves a share of the caller's time to the next encoder, unless it is the last.
Rows that arrived before a failure are kept: the next encoder's rows must repeat them bit by bit. An encoder
that lacks an image gets it, if the request brings the file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import grpc
import structlog

from decoder_svc.encoders.checks import changed
from decoder_svc.encoders.remote import RemoteEncoder
from decoder_svc.encoders.source import FetchReport, RowFetch, RowRequest
from decoder_svc.engine.protocol import RowChunk
from decoder_svc.errors import EncoderChanged, EncoderOutdated
from fovea.contract.errors import EncoderMismatch, FoveaError, ImageNotStored, RowsMismatch, TextReaderMissing
from fovea.deadline import Deadline

T = TypeVar("T")
Candidate = tuple[RemoteEncoder, Deadline]
"""An encoder, and the deadline of an attempt on it."""
log = structlog.get_logger()
_OWN = (EncoderMismatch, EncoderOutdated, RowsMismatch, ImageNotStored, TextReaderMissing)
"""Failures of an encoder that another need not have."""


def replaceable(error: FoveaError) -> bool:
    """Whether another encoder may succeed where this one failed."""
    if isinstance(error, EncoderChanged):  # the plan itself is void
        return False
    unavailable = error.code is grpc.StatusCode.UNAVAILABLE
    return unavailable or isinstance(error, _OWN)


async def first_answer(
    candidates: AsyncIterator[Candidate],
    call: Callable[[RemoteEncoder, Deadline], Awaitable[T]],
    widely: bool = True,
) -> T:
    """The answer of the first encoder that does not fail replaceably. Without `widely`, ImageNotStored is an
    answer. Raises ImageNotStored if an encoder answered so, otherwise the first failure.
    """
    failures: list[FoveaError] = []
    async for encoder, allowed in candidates:
        try:
            return await call(encoder, allowed)
        except FoveaError as error:
            if not replaceable(error) or (isinstance(error, ImageNotStored) and not widely):
                raise
            failures.append(error)
            _note(encoder, error)
    raise most_telling(failures)


def _note(encoder: RemoteEncoder, error: FoveaError) -> None:
    log.info("encoder_failed_over", encoder=encoder.address, reason=error.reason, message=error.message)


def most_telling(failures: Sequence[FoveaError]) -> FoveaError:
    """ImageNotStored if an encoder answered so, otherwise the first failure."""
    return next((error for error in failures if isinstance(error, ImageNotStored)), failures[0])


class Ranking(Protocol):
    """The encoders that may serve an image, in rank order."""

    def candidates(self, digest: str, deadline: Deadline) -> AsyncIterator[Candidate]: ...

    def not_stored(self, digest: str, error: ImageNotStored) -> FoveaError: ...

    async def restore(self, encoder: RemoteEncoder, digest: str, deadline: Deadline) -> bool: ...


@dataclass
class FailoverFetch:
    """The rows of an image, in order, from one encoder after another until all have arrived."""

    ranking: Ranking
    fetch_from: Callable[[RemoteEncoder, RowRequest, Deadline], RowFetch]
    wanted: RowRequest
    deadline: Deadline
    report: FetchReport = field(default_factory=FetchReport)
    _passed: list[int] = field(default_factory=list)
    """XXH3 of each chunk that was passed on."""

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        failures: list[FoveaError] = []
        async for encoder, allowed in self.ranking.candidates(self.wanted.digest, self.deadline):
            try:
                async with aclosing(self._restored(encoder, allowed)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except FoveaError as error:
                if not replaceable(error):
                    raise
                failures.append(error)
                _note(encoder, error)
        failure = most_telling(failures)
        if isinstance(failure, ImageNotStored):
            failure = self.ranking.not_stored(self.wanted.digest, failure)
        raise failure

    async def _restored(self, encoder: RemoteEncoder, deadline: Deadline) -> AsyncGenerator[RowChunk, None]:
        """The chunks of an encoder, which gets the image first if it lacks it and the request brings it."""
        for last in (False, True):
            try:
                async with aclosing(self._chunks_of(encoder, deadline)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                return
            except ImageNotStored:
                if last or not await self.ranking.restore(encoder, self.wanted.digest, deadline):
                    raise

    async def _chunks_of(self, encoder: RemoteEncoder, deadline: Deadline) -> AsyncGenerator[RowChunk, None]:
        """The chunks that no earlier encoder sent. Raises EncoderChanged if the earlier ones differ."""
        encoder.check_selects(self.wanted)
        fetch = self.fetch_from(encoder, self.wanted, deadline)
        self.report = fetch.report
        at = 0
        async with aclosing(fetch.chunks()) as chunks:
            async for chunk in chunks:
                if at == len(self._passed):
                    self._passed.append(chunk.xxh3)
                    yield chunk
                elif self._passed[at] != chunk.xxh3:
                    raise changed(encoder, "its rows differ from those that another encoder sent before")
                at += 1
