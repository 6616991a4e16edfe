"""The encoders as a request sees them. Rendezvous hashing ranks them for each image digest.

The rank order of the others does not change when an encoder joins or leaves, so stored rows stay useful. The
first in rank order, the owner, serves the image; uploads are stored by the first `copies`, so that the next
can take over by id. A fleet is immutable; `pool` creates the next. This module selects encoders; `failover`
replaces one that fails; `remote` calls them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from decoder_svc.encoders.broadcast import Broadcast, as_stream
from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.failover import Candidate, FailoverFetch, first_answer, replaceable
from decoder_svc.encoders.known import Known
from decoder_svc.encoders.link import RETRY_AFTER_S
from decoder_svc.encoders.remote import EncoderInfo, ExpectedModel, RemoteEncoder
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.encoders.source import RowFetch, RowRequest
from fovea.contract.errors import (
    DeadlineExceeded,
    EncoderMismatch,
    EncoderUnavailable,
    FoveaError,
    ImageNotStored,
)
from fovea.contract.image import StoredImage
from fovea.contract.row_stream import RowPlacement
from fovea.contract.rows import RowLayout
from fovea.contract.text import ImageText
from fovea.deadline import Deadline
from fovea.rendezvous import ranked

GRACE_S = 2.0
"""A probe that times out, and the next."""


@dataclass(frozen=True)
class EncoderStatus:
    """An encoder as the decoder sees it now; `info` is None if it did not answer."""

    address: str
    info: EncoderInfo | None
    compatible: bool

    def describe(self, with_load: bool = True) -> dict[str, Any]:
        """The encoder as GetServerInfo reports it. Its load is that of all tenants."""
        plain = {"address": self.address, "reachable": self.info is not None, "compatible": self.compatible}
        if self.info is None:
            return plain
        names = ("name", "fingerprint", *(("waiting", "running", "encodes") if with_load else ()))
        return plain | {name: getattr(self.info, name) for name in names}


@dataclass(frozen=True)
class Fleet:
    """The encoders by address, the model that they must serve, and the setting that names them.

    `cache` holds rows of all encoders, across joins and leaves. `same_host` reads rows of encoders on this
    host from shared memory. `known` substitutes for encoders that do not answer. `inline` are the files that
    the request brings, by id: an encoder that takes over without a file gets it from here. For `grace_s`
    after the last of several encoders has failed, calls wait for one that is back: it may serve again before
    its probe has noticed. Later they fail at once.
    """

    encoders: Mapping[str, RemoteEncoder]
    expected: ExpectedModel
    source: str
    cache: RowCache = field(default_factory=RowCache)
    same_host: SharedMemoryReader = field(default_factory=SharedMemoryReader)
    known: Known = field(default_factory=Known)
    inline: Mapping[str, bytes] = field(default_factory=dict)
    copies: int = 2
    grace_s: float = GRACE_S

    def bringing(self, inline: Mapping[str, bytes]) -> Fleet:
        """The fleet of a request that brings these files."""
        return replace(self, inline=inline)

    def ranked(self, digest: str) -> list[RemoteEncoder]:
        """All encoders in the image's rank order. Raises EncoderUnavailable if the DNS name has never been
        resolved.
        """
        if not self.encoders:
            raise EncoderUnavailable(
                f"no address of an encoder is known: {self.source} has not been resolved",
                retry_after_s=RETRY_AFTER_S,
                encoder=self.source,
            )
        return [self.encoders[address] for address in ranked(digest, self.encoders)]

    async def candidates(
        self, digest: str, deadline: Deadline, waits: bool = True
    ) -> AsyncGenerator[Candidate, None]:
        """The encoders whose breaker is closed, in rank order, to be called until one of them answers, each
        with a deadline that leaves time for the next; then those that have come back meanwhile or, if it
        `waits`, come back within the grace. Raises EncoderUnavailable if there is none.
        """
        encoders = self.ranked(digest)
        first = _closed(encoders)
        for encoder in first:
            yield encoder, deadline if encoder is first[-1] else deadline.sparing()
        later = [encoder for encoder in _closed(encoders) if encoder not in first]
        if not later and waits:
            later = await self._returned(encoders, deadline)
        for encoder in later:
            yield encoder, deadline
        if not first and not later:
            raise encoders[0].link.unreachable()

    async def reachable(self, digest: str, deadline: Deadline) -> list[RemoteEncoder]:
        """The encoders whose breaker is closed, in rank order. Raises EncoderUnavailable if there is none."""
        encoders = self.ranked(digest)
        closed = _closed(encoders) or await self._returned(encoders, deadline)
        if not closed:
            raise encoders[0].link.unreachable()
        return closed

    async def _returned(self, encoders: Sequence[RemoteEncoder], deadline: Deadline) -> list[RemoteEncoder]:
        """If the last of several encoders has just failed, the first that is back within the grace."""
        breakers = [encoder.link.breaker for encoder in encoders]
        if len(breakers) < 2 or not all(breaker.open for breaker in breakers):
            return []
        left = max(breaker.opened_at for breaker in breakers) + self.grace_s - time.monotonic()
        if left <= 0:
            return []
        returns = [asyncio.create_task(breaker.until_closed()) for breaker in breakers]
        try:
            await asyncio.wait(returns, timeout=deadline.timeout(left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in returns:
                task.cancel()
        return _closed(encoders)

    async def lookup(self, digest: str, deadline: Deadline) -> StoredImage:
        """The facts of an image that can be uploaded if the first reachable encoder does not hold it: then
        raises ImageNotStored. The last known facts if no encoder answers.
        """
        return await self._facts(digest, deadline, widely=False)

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        """The facts of an image from any encoder that holds it; the last known facts if a holder is down.

        Raises ImageNotStored only if every holder answered so.
        """
        try:
            return await self._facts(digest, deadline, widely=True)
        except ImageNotStored as error:
            failure = self.not_stored(digest, error)
            if failure is error:
                self.known.forget(digest)
            elif known := self.known.find(digest):
                return known
            raise failure from None

    def not_stored(self, digest: str, error: ImageNotStored) -> FoveaError:
        """The failure for an image that no reachable encoder holds: a holder that is down may hold it."""
        holders = self.ranked(digest)[: self.copies]
        down = next((encoder for encoder in holders if encoder.link.breaker.open), None)
        return down.link.unreachable() if down else error

    async def _facts(self, digest: str, deadline: Deadline, widely: bool) -> StoredImage:
        try:
            waits = self.known.find(digest) is None
            stored = await first_answer(
                self.candidates(digest, deadline, waits),
                lambda encoder, allowed: encoder.describe(digest, allowed),
                widely,
            )
            return self.known.note(stored)
        except EncoderUnavailable:
            if known := self.known.find(digest):
                return known
            raise

    async def put(self, digest: str, chunks: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        """Store an upload on the first `copies` reachable encoders. Succeeds if any of them stores it; a
        silent encoder uses up no more time than an attempt may.

        Raises the failure of the first in rank order. Other exceptions of `chunks` propagate.
        """
        encoders = (await self.reachable(digest, deadline))[: self.copies]
        allowed = deadline.sparing() if len(encoders) > 1 else deadline
        upload = Broadcast(chunks, len(encoders))
        running = asyncio.create_task(upload.run())
        copies = [
            asyncio.create_task(self._store(encoder, digest, upload, number, allowed))
            for number, encoder in enumerate(encoders)
        ]
        try:
            await _one_or_all(copies, allowed)
        finally:
            # Awaited, because two readers of a call's requests would disturb each other.
            for task in (running, *copies):
                task.cancel()
            results = await asyncio.gather(*copies, return_exceptions=True)
            await asyncio.gather(running, return_exceptions=True)
        for result in results:
            if isinstance(result, StoredImage):
                return self.known.note(result)
        raise next(each for each in results if isinstance(each, BaseException))

    async def _store(
        self, encoder: RemoteEncoder, digest: str, upload: Broadcast, number: int, deadline: Deadline
    ) -> StoredImage:
        try:
            return await encoder.put(digest, upload.readers[number], deadline)
        finally:
            upload.leave(number)

    async def read_text(self, digest: str, deadline: Deadline, stored_only: bool) -> ImageText | None:
        """The text of an image by the first encoder in rank order that can read it."""
        return await first_answer(
            self.candidates(digest, deadline, waits=False),
            lambda encoder, allowed: encoder.read_text(digest, allowed, stored_only),
        )

    async def layout(self, digests: Sequence[str], deadline: Deadline) -> RowLayout | None:
        """The row layout of the encoders that serve these images; None without images."""
        first = {self._serving(digest).address: digest for digest in digests}
        layouts = await self._handshakes(first.values(), deadline)
        if len(set(layouts)) > 1:  # an encoder may have restarted since its handshake
            for encoder in self.encoders.values():
                encoder.forget()
            layouts = await self._handshakes(first.values(), deadline)
        if len(set(layouts)) > 1:
            raise EncoderMismatch(
                "the encoders of this request serve rows in different dtypes",
                actual=",".join(sorted(layout.dtype.value for layout in set(layouts))),
            )
        return layouts[0] if layouts else None

    def _serving(self, digest: str) -> RemoteEncoder:
        """The first reachable encoder in rank order; the owner if none is reachable."""
        encoders = self.ranked(digest)
        return next((encoder for encoder in encoders if not encoder.link.breaker.open), encoders[0])

    async def _handshakes(self, digests: Iterable[str], deadline: Deadline) -> list[RowLayout]:
        return list(await asyncio.gather(*(self._handshake(digest, deadline) for digest in digests)))

    async def _handshake(self, digest: str, deadline: Deadline) -> RowLayout:
        """The agreed layout; the last known if no encoder answers, since the rows may be cached here."""
        known = [encoder.known.layout for encoder in self.ranked(digest) if encoder.known is not None]
        try:
            return await first_answer(
                self.candidates(digest, deadline, waits=not known),
                lambda encoder, allowed: encoder.handshake(self.expected, allowed),
            )
        except EncoderUnavailable:
            if not known:
                raise
            return known[0]

    @property
    def all_down(self) -> bool:
        return all(encoder.link.breaker.open for encoder in self.encoders.values())

    async def check_reachable(self, wanted: RowRequest, deadline: Deadline) -> None:
        """Raises EncoderUnavailable if no encoder is reachable and the rows are not in the row cache."""
        if not self.cache.holds(wanted):
            await self.reachable(wanted.digest, deadline)

    async def place(self, wanted: RowRequest, deadline: Deadline, stored_only: bool = False) -> RowPlacement:
        """The rows that the plan of `wanted` selects; `wanted.rows` counts the whole image."""
        known = self.known.find_placed(wanted)
        try:
            placed = await first_answer(
                self.candidates(wanted.digest, deadline, waits=known is None),
                lambda encoder, allowed: self._place(encoder, wanted, allowed, stored_only),
            )
        except EncoderUnavailable:
            if known is None:
                raise
            return known
        return self.known.note_placed(wanted, placed)

    async def _place(
        self, encoder: RemoteEncoder, wanted: RowRequest, deadline: Deadline, stored_only: bool
    ) -> RowPlacement:
        try:
            return await encoder.place(wanted, deadline, stored_only)
        except ImageNotStored:
            if not await self.restore(encoder, wanted.digest, deadline):
                raise
            return await encoder.place(wanted, deadline, stored_only)

    async def restore(self, encoder: RemoteEncoder, digest: str, deadline: Deadline) -> bool:
        """Store an inline image with an encoder that lacks it. False if the request does not bring the file,
        or the encoder refuses it.

        Raises the failure of an encoder that did not answer: "upload it again" is no advice to a caller who
        has just sent the file.
        """
        if (data := self.inline.get(digest)) is None:
            return False
        try:
            await encoder.put(digest, as_stream(data), deadline)
        except FoveaError as error:
            if replaceable(error):
                raise
            return False
        return True

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> RowFetch:
        return self.cache.over(FailoverFetch(self, self.same_host.fetch, wanted, deadline), wanted)

    async def states(self, deadline: Deadline) -> list[EncoderStatus]:
        """Query all encoders concurrently. An unresolved DNS name is reported as a silent encoder."""
        if not self.encoders:
            return [EncoderStatus(self.source, None, False)]
        return list(
            await asyncio.gather(*(self._state(encoder, deadline) for encoder in self.encoders.values()))
        )

    async def _state(self, encoder: RemoteEncoder, deadline: Deadline) -> EncoderStatus:
        try:
            info = await encoder.info(deadline)
        except DeadlineExceeded:
            encoder.link.trip()
            return EncoderStatus(encoder.address, None, False)
        except FoveaError:
            return EncoderStatus(encoder.address, None, False)
        return EncoderStatus(encoder.address, info, info.model == self.expected)


async def _one_or_all(copies: Sequence[asyncio.Task[StoredImage]], allowed: Deadline) -> None:
    """Wait until all have ended; once an attempt should give way, only until one has succeeded."""
    patience_s = allowed.patience_s
    _, running = await asyncio.wait(copies, timeout=None if patience_s == inf else patience_s)
    while running and not any(copy.done() and copy.exception() is None for copy in copies):
        _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)


def _closed(encoders: Sequence[RemoteEncoder]) -> list[RemoteEncoder]:
    """The encoders whose breaker is closed."""
    return [encoder for encoder in encoders if not encoder.link.breaker.open]
