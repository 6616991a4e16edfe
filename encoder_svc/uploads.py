"""Uploads: image bytes are received, checked, and stored with their facts under the digest of their content.

A known digest is answered at once. An image that cannot be decoded is never stored. The second level has the
facts of images, without their bytes: they suffice to serve rows that are stored, here or there. Uses the
store, the second level and the image decoder; independent of rows and RPCs.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import time
from dataclasses import dataclass, fields, replace

from encoder_svc.errors import DigestInvalid
from encoder_svc.images.decode import PIXELS_REVISION
from encoder_svc.images.decoder import Decoder
from encoder_svc.shared.level import NOT_SHARED, SecondLevel
from encoder_svc.store.amounts import Amount
from encoder_svc.store.core import Facts
from encoder_svc.store.keys import UploadKey
from encoder_svc.store.store import LmdbStore
from encoder_svc.tenant import Tenant
from fovea import hashing
from fovea.contract.errors import DigestMismatch, ImageNotStored, ImageTooLarge, StoreFull
from fovea.contract.ids import is_digest
from fovea.contract.image import ImageFacts, StoredImage


def pixels_of(pixel_digest: str) -> bytes:
    """The digest of pixels as keys have it."""
    return bytes.fromhex(pixel_digest.removeprefix("sha256:"))


_FACTS = {field.name for field in fields(ImageFacts)}
_LATER = {"kind_confidence": 0.0}
"""Facts that earlier versions did not store, with the value that their images have."""


@dataclass(frozen=True)
class UploadPolicy:
    """Size limit and lifetime of uploads."""

    max_bytes: int
    ttl_s: int


class Uploads:
    """The images of all tenants. Every call names the tenant, and reads and changes nothing of others."""

    def __init__(
        self, store: LmdbStore, decoder: Decoder, policy: UploadPolicy, shared: SecondLevel = NOT_SHARED
    ) -> None:
        self._store = store
        self._shared = shared
        self._decoder = decoder
        self.policy = policy

    def key(self, tenant: Tenant, digest: str) -> UploadKey:
        """Raises DigestInvalid if the text is not an image id."""
        if not is_digest(digest):
            raise DigestInvalid(digest)
        return UploadKey.of(tenant.uploads, digest)

    async def find(self, tenant: Tenant, digest: str) -> StoredImage | None:
        """The facts of a stored image that has not expired and whose facts this version measures alike."""
        key = self.key(tenant, digest)
        facts = await asyncio.to_thread(self._store.describe, key)
        stored = None if facts is None else _current(facts)
        if facts is not None and stored is None:
            await asyncio.to_thread(self._store.delete_upload, key)
        return stored

    async def find_shared(self, tenant: Tenant, digest: str) -> StoredImage | None:
        """Like `find`, of an image that another encoder has stored."""
        facts = await self._shared.facts(self.key(tenant, digest))
        return None if facts is None else _current(facts)

    async def describe(self, tenant: Tenant, digest: str) -> StoredImage:
        """The facts of an image that is stored here, or on an encoder that shares them. Raises
        ImageNotStored.
        """
        stored = await self.find(tenant, digest) or await self.find_shared(tenant, digest)
        if stored is None:
            raise ImageNotStored(digest)
        return stored

    async def data(self, tenant: Tenant, digest: str) -> bytes:
        """The bytes of a stored image; raises ImageNotStored."""
        upload = await asyncio.to_thread(self._store.get_upload, self.key(tenant, digest))
        if upload is None:
            raise ImageNotStored(digest)
        return bytes(upload.data)

    async def keep(self, tenant: Tenant, digest: str, data: bytes | memoryview) -> StoredImage:
        """Decode the image with this digest, so that only complete images are stored, then store it. Raises
        what the decoder raises.
        """
        facts = await self._decoder.facts(self.key(tenant, digest), data)
        stored = StoredImage(facts, already=False, expires=self._expiry())
        await self._write(tenant, stored, data)
        return stored

    async def renew(self, tenant: Tenant, stored: StoredImage) -> StoredImage:
        """Extend the expiry once half of the lifetime has passed. An earlier write is not worth its cost."""
        if stored.expires - time.time() > self.policy.ttl_s / 2:
            return stored
        renewed = replace(stored, expires=self._expiry())
        await self._write(tenant, renewed, await self.data(tenant, stored.facts.digest))
        return renewed

    async def pixels(self, tenant: Tenant, digest: str) -> bytes | None:
        """The pixel digest of an upload, even of an expired one; None if it is not stored here."""
        facts = await asyncio.to_thread(self._store.describe, self.key(tenant, digest))
        return None if facts is None else pixels_of(str(facts["pixel_digest"]))

    async def shared_pixels(self, tenant: Tenant, digest: str) -> bytes | None:
        """The pixel digest of an image that another encoder has stored, or deleted lately. Raises
        SharedCacheNotCleared.
        """
        found = await self._shared.pixel_digest(self.key(tenant, digest))
        return None if found is None else pixels_of(found)

    async def delete(self, tenant: Tenant, digest: str) -> Amount:
        """Delete the image here; its facts in the second level are `delete_shared`'s."""
        return await asyncio.to_thread(self._store.delete_upload, self.key(tenant, digest))

    async def delete_shared(self, tenant: Tenant, digest: str, pixels: bytes) -> None:
        """Raises SharedCacheNotCleared."""
        await self._shared.delete_facts(self.key(tenant, digest), f"sha256:{pixels.hex()}")

    def _expiry(self) -> float:
        return time.time() + self.policy.ttl_s

    async def _write(self, tenant: Tenant, stored: StoredImage, data: bytes | memoryview) -> None:
        facts = {
            **vars(stored.facts),
            "expires": stored.expires,
            "pixels_revision": PIXELS_REVISION,
        }
        key = self.key(tenant, stored.facts.digest)
        put = await asyncio.to_thread(self._store.put_upload, key, data, facts)
        if not put.stored:
            raise StoreFull(str(put.skipped), len(data))
        self._shared.put_facts(tenant, key, pixels_of(stored.facts.pixel_digest), facts, stored.expires)


def _current(facts: Facts) -> StoredImage | None:
    """The image with these facts; None if it has expired, or another version has measured them."""
    values = _LATER | dict(facts)
    expires = float(values.pop("expires"))  # type: ignore[arg-type]  # written by `keep`
    current = values.pop("pixels_revision", None) == PIXELS_REVISION and values.keys() == _FACTS
    if expires < time.time() or not current:
        return None
    return StoredImage(ImageFacts(**values), already=True, expires=expires)  # type: ignore[arg-type]


class UploadBuffer:
    """The bytes of an upload as they arrive, in pages that go back to the kernel with it.

    On the heap a large file would stay with the process, which keeps memory that it has freed. Pages without
    bytes take none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._pages = mmap.mmap(-1, max_bytes)
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._pages[self._size : self._size + len(piece)] = piece
        self._size += len(piece)

    @property
    def data(self) -> memoryview:
        return memoryview(self._pages)[: self._size].toreadonly()


class Intake:
    """An upload in progress, message by message."""

    def __init__(self, uploads: Uploads, tenant: Tenant) -> None:
        self._uploads = uploads
        self._tenant = tenant
        self._announced = ""
        self._buffer = UploadBuffer(uploads.policy.max_bytes)
        self._size = 0
        self._hash = hashlib.sha256()

    async def announce(self, digest: str, byte_size: int) -> StoredImage | None:
        """Handle a header. Returns the image if it is already stored, in which case the client need not send
        the rest.
        """
        self._check_size(byte_size)
        if not digest or digest == self._announced:
            return None
        if not is_digest(digest):
            raise DigestInvalid(digest, "header.digest")
        self._announced = digest
        stored = await self._uploads.find(self._tenant, digest)
        return None if stored is None else await self._uploads.renew(self._tenant, stored)

    async def add(self, piece: bytes) -> None:
        self._size += len(piece)
        self._check_size(self._size)
        await hashing.update(self._hash, piece)
        self._buffer.add(piece)

    async def finish(self) -> StoredImage:
        digest = f"sha256:{self._hash.hexdigest()}"
        if self._announced and self._announced != digest:
            raise DigestMismatch(self._announced, digest)
        stored = await self._uploads.find(self._tenant, digest)
        if stored is not None:
            return await self._uploads.renew(self._tenant, stored)
        return await self._uploads.keep(self._tenant, digest, self._buffer.data)

    def _check_size(self, size: int) -> None:
        limit = self._uploads.policy.max_bytes
        if size > limit:
            raise ImageTooLarge(size, limit)
