"""The encoders as one request sees them: each image has one owner, by rendezvous hashing of its id.

The owner of an image does not change when another encoder joins or leaves, so that its rows stay where they
are. A fleet never changes; `pool` makes the next one. This module chooses; `peer` talks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import xxhash

from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.known import Known
from decoder_svc.encoders.link import RETRY_AFTER_S
from decoder_svc.encoders.remote import EncoderInfo, RemoteEncoder
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.encoders.source import RowFetch, RowPlacement, RowRequest
from fovea.contract.errors import EncoderMismatch, EncoderUnavailable, FoveaError
from fovea.contract.image import StoredImage
from fovea.contract.rows import RowLayout
from fovea.deadline import Deadline


@dataclass(frozen=True)
class ExpectedModel:
    """What the rows of every encoder must fit: the decoder's own model."""

    fingerprint: str
    width: int
    levels: int


@dataclass(frozen=True)
class EncoderStatus:
    """An encoder as the decoder sees it now; `info` is None where it did not answer."""

    address: str
    info: EncoderInfo | None
    compatible: bool


def owner(digest: str, addresses: Iterable[str]) -> str:
    """The address with the highest hash of it and the digest (rendezvous hashing, Thaler and Ravishankar).

    The address is hashed as it was given: a name keeps its images when the host behind it moves.
    """

    def weight(address: str) -> tuple[int, str]:
        return xxhash.xxh3_64_intdigest(f"{address}\n{digest}".encode()), address

    return max(addresses, key=weight)


@dataclass(frozen=True)
class Fleet:
    """The encoders by address, the model that they must serve, and the setting that they were found by.

    `cache` keeps rows of all of them, whichever joins or leaves. `same_host` reads those of our host. `known`
    stands in for an encoder that does not answer.
    """

    peers: Mapping[str, RemoteEncoder]
    expected: ExpectedModel
    found_by: str
    cache: RowCache = field(default_factory=RowCache)
    same_host: SharedMemoryReader = field(default_factory=SharedMemoryReader)
    known: Known = field(default_factory=Known)

    def of(self, digest: str) -> RemoteEncoder:
        """Raises EncoderUnavailable where there is no encoder: a DNS name that was never resolved."""
        if not self.peers:
            raise EncoderUnavailable(
                f"no address of an encoder is known: {self.found_by} has not been resolved",
                retry_after_s=RETRY_AFTER_S,
                encoder=self.found_by,
            )
        return self.peers[owner(digest, self.peers)]

    async def describe(self, digest: str, deadline: Deadline) -> StoredImage:
        """What its owner says, or where that does not answer, what it said last."""
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

    async def put(self, digest: str, pieces: AsyncIterator[bytes], deadline: Deadline) -> StoredImage:
        return self.known.note(await self.of(digest).put(digest, pieces, deadline))

    async def layout(self, digests: Sequence[str], deadline: Deadline) -> RowLayout | None:
        """The layout that the owners of these images share; None where there are no images."""
        owners = {peer.address: peer for peer in map(self.of, digests)}
        layouts = await self._handshakes(owners.values(), deadline)
        if len(set(layouts)) > 1:  # perhaps one was started again since it was asked
            for peer in owners.values():
                peer.forget()
            layouts = await self._handshakes(owners.values(), deadline)
        if len(set(layouts)) > 1:
            raise EncoderMismatch(
                "the encoders of this request serve rows in different dtypes",
                actual=",".join(sorted(layout.dtype.value for layout in set(layouts))),
            )
        return layouts[0] if layouts else None

    async def _handshakes(self, peers: Iterable[RemoteEncoder], deadline: Deadline) -> list[RowLayout]:
        return list(await asyncio.gather(*(self._handshake(peer, deadline) for peer in peers)))

    async def _handshake(self, peer: RemoteEncoder, deadline: Deadline) -> RowLayout:
        """The layout agreed on, now or before the encoder went silent: its rows may be cached here."""
        want = self.expected
        try:
            return await peer.handshake(want.fingerprint, want.width, want.levels, deadline)
        except EncoderUnavailable:
            if peer.known is None:
                raise
            return peer.known.layout

    @property
    def any_suspect(self) -> bool:
        return any(peer.link.suspect for peer in self.peers.values())

    def check_reachable(self, wanted: RowRequest) -> None:
        """Raises EncoderUnavailable where their owner did not answer and they are not in memory."""
        link = self.of(wanted.digest).link
        if link.suspect and not self.cache.holds(wanted):
            raise link.unreachable()

    async def place(self, wanted: RowRequest, deadline: Deadline, stored_only: bool = False) -> RowPlacement:
        """Which rows the plan of `wanted` sends; its rows are those of the whole image."""
        try:
            placed = await self.of(wanted.digest).place(wanted, deadline, stored_only)
        except EncoderUnavailable:
            known = self.known.find_placed(wanted)
            if known is None:
                raise
            return known
        return self.known.note_placed(wanted, placed)

    def fetch(self, wanted: RowRequest, deadline: Deadline) -> RowFetch:
        return self.cache.over(self.same_host.over(self.of(wanted.digest))).fetch(wanted, deadline)

    async def states(self, deadline: Deadline) -> list[EncoderStatus]:
        """Every encoder asked anew, side by side. A name without an address is told as one that is silent."""
        if not self.peers:
            return [EncoderStatus(self.found_by, None, False)]
        return list(await asyncio.gather(*(self._state(peer, deadline) for peer in self.peers.values())))

    async def _state(self, peer: RemoteEncoder, deadline: Deadline) -> EncoderStatus:
        try:
            info = await peer.info(deadline)
        except FoveaError:
            return EncoderStatus(peer.address, None, False)
        want = self.expected
        return EncoderStatus(peer.address, info, info.shape == (want.fingerprint, want.width, want.levels))
