"""The encoders as a request sees them. Rendezvous hashing assigns each image digest an owner.

The owner of an image does not change when another encoder joins or leaves, so stored rows stay useful. A
fleet is immutable; `pool` creates the next. This module selects encoders; `remote` calls them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.known import Known
from decoder_svc.encoders.link import RETRY_AFTER_S
from decoder_svc.encoders.remote import EncoderInfo, ExpectedModel, RemoteEncoder
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.encoders.source import RowFetch, RowRequest
from fovea.contract.errors import EncoderMismatch, EncoderUnavailable, FoveaError
from fovea.contract.image import StoredImage
from fovea.contract.row_stream import RowPlacement
from fovea.contract.rows import RowLayout
from fovea.deadline import Deadline


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


def owner(digest: str, addresses: Iterable[str]) -> str:
    """The address whose hash with the digest is highest (rendezvous hashing, Thaler and Ravishankar).

    The address is hashed as configured: a host name keeps its images when the host behind it moves.
    """

    def weight(address: str) -> tuple[int, str]:
        return xxhash.xxh3_64_intdigest(f"{address}\n{digest}".encode()), address

    return max(addresses, key=weight)


@dataclass(frozen=True)
class Fleet:
    """The encoders by address, the model that they must serve, and the setting that names them.

    `cache` holds rows of all encoders, across joins and leaves. `same_host` reads rows of encoders on this
    host from shared memory. `known` substitutes for an encoder that does not answer.
    """

    encoders: Mapping[str, RemoteEncoder]
    expected: ExpectedModel
    source: str
    cache: RowCache = field(default_factory=RowCache)
    same_host: SharedMemoryReader = field(default_factory=SharedMemoryReader)
    known: Known = field(default_factory=Known)

    def of(self, digest: str) -> RemoteEncoder:
        """The owner of an image. Raises EncoderUnavailable if the DNS name has never been resolved."""
        if not self.encoders:
            raise EncoderUnavailable(
                f"no address of an encoder is known: {self.source} has not been resolved",
                retry_after_s=RETRY_AFTER_S,
                encoder=self.source,
            )
        return self.encoders[owner(digest, self.encoders)]

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        """The facts from the image's owner; the last known facts if the owner does not answer."""
        try:
            return self.known.note(await self.of(digest).describe(digest, deadline))
        except EncoderUnavailable:
            known = self.known.find(digest)
            if known is None:
                raise
            return known
        except FoveaError as error:
            if error.received:
                self.known.forget(digest)
            raise

    async def put(self, digest: str, chunks: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        return self.known.note(await self.of(digest).put(digest, chunks, deadline))

    async def layout(self, digests: Sequence[str], deadline: Deadline) -> RowLayout | None:
        """The row layout that the owners of these images share; None without images."""
        owners = {encoder.address: encoder for encoder in map(self.of, digests)}
        layouts = await self._handshakes(owners.values(), deadline)
        if len(set(layouts)) > 1:  # an encoder may have restarted since its handshake
            for encoder in owners.values():
                encoder.forget()
            layouts = await self._handshakes(owners.values(), deadline)
        if len(set(layouts)) > 1:
            raise EncoderMismatch(
                "the encoders of this request serve rows in different dtypes",
                actual=",".join(sorted(layout.dtype.value for layout in set(layouts))),
            )
        return layouts[0] if layouts else None

    async def _handshakes(self, encoders: Iterable[RemoteEncoder], deadline: Deadline) -> list[RowLayout]:
        return list(await asyncio.gather(*(self._handshake(encoder, deadline) for encoder in encoders)))

    async def _handshake(self, encoder: RemoteEncoder, deadline: Deadline) -> RowLayout:
        """The agreed layout; the last known if the encoder is silent, since its rows may be cached here."""
        try:
            return await encoder.handshake(self.expected, deadline)
        except EncoderUnavailable:
            if encoder.known is None:
                raise
            return encoder.known.layout

    @property
    def any_suspect(self) -> bool:
        return any(encoder.link.suspect for encoder in self.encoders.values())

    def check_reachable(self, wanted: RowRequest) -> None:
        """Raises EncoderUnavailable if the owner did not answer and the rows are not in the row cache."""
        link = self.of(wanted.digest).link
        if link.suspect and not self.cache.holds(wanted):
            raise link.unreachable()

    async def place(self, wanted: RowRequest, deadline: Deadline, stored_only: bool = False) -> RowPlacement:
        """The rows that the plan of `wanted` selects; `wanted.rows` counts the whole image."""
        try:
            placed = await self.of(wanted.digest).place(wanted, deadline, stored_only)
        except EncoderUnavailable:
            known = self.known.find_placed(wanted)
            if known is None:
                raise
            return known
        return self.known.note_placed(wanted, placed)

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> RowFetch:
        fetch = self.same_host.fetch(self.of(wanted.digest), wanted, deadline)
        return self.cache.over(fetch, wanted)

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
        except FoveaError:
            return EncoderStatus(encoder.address, None, False)
        return EncoderStatus(encoder.address, info, info.model == self.expected)
