"""The text of stored images: read once, kept as a sidecar of the upload, and served from there.

Concurrent callers share a reading. It goes on when its callers have left, so that the next caller has the
text; what it may take is limited. A deletion keeps the text of a running reading from being stored.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from weakref import WeakValueDictionary

import structlog

from encoder_svc.errors import TextReaderBusy
from encoder_svc.permits import WritePermit, WritePermits
from encoder_svc.reading.engine import ReaderIdentity
from encoder_svc.reading.reader import TextReader
from encoder_svc.reading.replies import pack_lines, unpack_lines
from encoder_svc.single_flight import SingleFlight
from encoder_svc.store.amounts import Amount
from encoder_svc.store.keys import Fields, UploadKey
from encoder_svc.store.store import LmdbStore
from encoder_svc.tenant import Tenant
from encoder_svc.uploads import Uploads, pixels_of
from fovea.contract.errors import FoveaError, TextNotFound, TextReaderMissing
from fovea.contract.text import ImageText

log = structlog.get_logger()
NAME = "text"
TEXT_REVISION = 1
"""Raise it when the same reader would give other text."""
TENANT_SHARE = 2
"""A tenant has at most the TENANT_SHARE-th part of the places of the queue."""


class Texts:
    """Confined to an event loop. `missing` is why there is no reader. `on_read` gets each new text."""

    def __init__(
        self,
        store: LmdbStore,
        uploads: Uploads,
        reader: TextReader | TextReaderMissing,
        permits: WritePermits,
        on_read: Callable[[ImageText | FoveaError], object],
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._reader = reader
        self._permits = permits
        self._on_read = on_read
        self._readings: SingleFlight[UploadKey, ImageText] = SingleFlight()
        self._running: WeakValueDictionary[UploadKey, WritePermit] = WeakValueDictionary()
        self._waiting: Counter[str] = Counter()
        self._background: set[asyncio.Task[object]] = set()

    @property
    def identity(self) -> ReaderIdentity | None:
        return self._reader.identity if isinstance(self._reader, TextReader) else None

    @property
    def waiting(self) -> int:
        """Images that wait for the reader or are being read."""
        return self._waiting.total()

    async def read(self, tenant: Tenant, digest: str) -> ImageText:
        """The text of a stored image.

        Raises ImageNotStored, TextNotFound, TextReaderBusy, and what the reader raises.
        """
        return _with_lines(digest, await self._found(tenant, digest) or await self._new(tenant, digest))

    async def find(self, tenant: Tenant, digest: str) -> ImageText | None:
        """The text of a stored image if it has been read, else None, and it is read in the background."""
        text = await self._found(tenant, digest)
        if text is not None:
            return _with_lines(digest, text)
        if self._uploads.key(tenant, digest) not in self._readings:
            self.begin(tenant, digest)
        return None

    def begin(self, tenant: Tenant, digest: str) -> None:
        """Read an image in the background. Its failure is logged, and told to whoever reads it next."""
        task: asyncio.Task[object] = asyncio.create_task(self._read_quietly(tenant, digest))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def delete(self, tenant: Tenant, digest: str) -> Amount:
        """Delete the text of an image, and keep that of a running reading from being stored."""
        key = self._uploads.key(tenant, digest)
        running = self._running.get(key)
        if running is not None:
            await self._permits.revoke(lambda permit: permit is running)
        return await asyncio.to_thread(self._store.delete_upload_sidecars, key, NAME)

    async def close(self) -> None:
        """Kill what is being read, and wait for pending writes."""
        if isinstance(self._reader, TextReader):
            self._reader.close()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._readings.written()

    async def _read_quietly(self, tenant: Tenant, digest: str) -> None:
        try:
            await self.read(tenant, digest)
        except FoveaError as error:
            log.info("text_not_read", reason=error.reason, message=error.message)

    async def _found(self, tenant: Tenant, digest: str) -> ImageText | None:
        """Stored text. Raises ImageNotStored and TextReaderMissing."""
        reader = self._installed()
        await self._uploads.describe(tenant, digest)
        key = self._uploads.key(tenant, digest)
        fields = _fields(reader.identity)
        data = await asyncio.to_thread(self._store.get_upload_sidecar, key, NAME, fields)
        return None if data is None else _unpack(reader.identity, data)

    def _installed(self) -> TextReader:
        if isinstance(self._reader, TextReader):
            return self._reader
        raise TextReaderMissing(self._reader.reader, self._reader.why)

    async def _new(self, tenant: Tenant, digest: str) -> ImageText:
        key, permit = self._uploads.key(tenant, digest), self._permits.issue(tenant)
        if key not in self._readings:
            self._check_room(tenant)
            self._running[key] = permit
        text, first = await self._readings.join(
            key, partial(self._read, tenant, digest, permit), partial(self._write, key, permit)
        )
        return replace(text, stored=not first)

    def _check_room(self, tenant: Tenant) -> None:
        most = self._installed().limits.max_queue
        own = max(1, most // TENANT_SHARE)
        if self.waiting >= most:
            raise TextReaderBusy(self.waiting, most)
        if self._waiting[tenant.name] >= own:
            raise TextReaderBusy(self._waiting[tenant.name], own)

    async def _read(self, tenant: Tenant, digest: str, permit: WritePermit) -> ImageText:
        self._waiting[tenant.name] += 1
        try:
            facts = (await self._uploads.describe(tenant, digest)).facts
            permit.pixels = pixels_of(facts.pixel_digest)
            data = await self._uploads.data(tenant, digest)
            text = await self._installed().read(self._uploads.key(tenant, digest), data)
        except FoveaError as error:
            self._on_read(error)
            raise
        finally:
            self._waiting[tenant.name] -= 1
            self._waiting += Counter()  # drops tenants without images
        self._on_read(text)
        return text

    async def _write(self, key: UploadKey, permit: WritePermit, text: ImageText) -> None:
        """A skipped put costs a later reading and nothing else. Text of a deleted image is not stored."""
        with self._permits.write(permit) as permitted:
            if permitted:
                fields = _fields(ReaderIdentity(text.reader, text.version))
                await asyncio.to_thread(self._store.put_upload_sidecar, key, NAME, fields, _pack(text))


def _with_lines(digest: str, text: ImageText) -> ImageText:
    if not text.lines:
        raise TextNotFound(digest)
    return text


def _fields(reader: ReaderIdentity) -> Fields:
    return {"reader": reader.name, "version": reader.version, "revision": TEXT_REVISION}


def _pack(text: ImageText) -> bytes:
    return f"{text.cpu_ms:.3f}\n".encode() + pack_lines(text.lines)


def _unpack(reader: ReaderIdentity, data: memoryview) -> ImageText | None:
    """None for bytes that are no text of ours."""
    cpu_ms, _, lines = bytes(data).partition(b"\n")
    try:
        return ImageText(unpack_lines(lines), reader.name, reader.version, True, float(cpu_ms))
    except ValueError:
        return None
