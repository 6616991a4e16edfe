"""An encoder on a real store, with a counting decoder and a counting fake tower."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder_svc.core import RowIdentity
from encoder_svc.encoder import Encoder
from encoder_svc.images.decode import Pixels
from encoder_svc.images.decoder import Decoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.job_builder import JobBuilder
from encoder_svc.permits import WritePermits
from encoder_svc.rankings import Rankings
from encoder_svc.row_cache import RowCache
from encoder_svc.shared.level import NOT_SHARED, SecondLevel
from encoder_svc.store.core import StoreLimits
from encoder_svc.store.keys import UploadKey
from encoder_svc.store.store import LmdbStore
from encoder_svc.tenant import Tenant
from encoder_svc.uploads import UploadPolicy, Uploads
from encoder_svc.vision.batcher import Batcher
from encoder_svc.vision.output import TowerOutput
from encoder_svc.vision.prepare import ImagePreparer
from encoder_svc.vision.preprocess import Patches
from fovea.contract.image import ImageFacts, StoredImage
from fovea.contract.plan import Reducer
from fovea.contract.rows import RowDtype, RowLayout, digest
from fovea.geometry import Geometry
from fovea.nursery.limits import ChildLimits

LAYOUT = RowLayout(width=8, levels=3, dtype=RowDtype.FP32)
GEOMETRY = Geometry()
TENANT = Tenant.of("default")
MIB = 1024 * 1024
CHILD = ChildLimits(cpu_s=60, memory_bytes=1024 * MIB)
_PROJECTION = np.random.default_rng(1).normal(size=(4 * 1536, LAYOUT.values)).astype(np.float32)


class CountingDecoder(Decoder):
    """A decoder that counts its calls."""

    decodes = 0

    async def facts(self, key: UploadKey, data: bytes | memoryview) -> ImageFacts:
        self.decodes += 1
        return await super().facts(key, data)

    async def pixels(self, key: UploadKey, data: bytes | memoryview) -> Pixels:
        self.decodes += 1
        return await super().pixels(key, data)


class FakeTower:
    """Computes rows from the pixels of each cell; brighter cells get more attention. Waits for `gate`."""

    def __init__(self) -> None:
        self.computed: list[int] = []
        self.with_saliency: list[bool] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, images: Sequence[Patches], saliency: bool) -> list[TowerOutput]:
        self.computed.append(len(images))
        self.with_saliency.append(saliency)
        if not self.gate.wait(timeout=20):
            raise RuntimeError("the test never opened the gate")
        return [self._rows(image.values.reshape(image.count // 4, -1), saliency) for image in images]

    def _rows(self, cells: np.ndarray, saliency: bool) -> TowerOutput:
        rows = np.stack([cell @ _PROJECTION for cell in cells])
        return TowerOutput(rows.astype(np.float32).tobytes(), 1 + cells.mean(1) if saliency else None)


@dataclass
class Parts:
    """An encoder and its parts; `ranked` lists the computed rankings."""

    encoder: Encoder
    uploads: Uploads
    store: LmdbStore
    decoder: CountingDecoder
    tower: FakeTower
    ranked: list[Reducer]
    permits: WritePermits
    shared: SecondLevel

    async def keep(self, tenant: Tenant, data: bytes) -> StoredImage:
        return await self.uploads.keep(tenant, digest(data), data)


@asynccontextmanager
async def running(
    directory: Path,
    capacity: int = 32 * MIB,
    open_shared: Callable[[WritePermits], SecondLevel] = lambda permits: NOT_SHARED,
) -> AsyncIterator[Parts]:
    decoder, tower = CountingDecoder(ImageLimits(), CHILD), FakeTower()
    batcher, preparer = Batcher(tower), ImagePreparer(decoder, GEOMETRY)
    with LmdbStore(directory, StoreLimits(capacity, 8 * MIB)) as store:
        permits = WritePermits()
        shared = open_shared(permits)
        await shared.start()
        uploads = Uploads(store, decoder, UploadPolicy(MIB, 3600), shared)
        identity = RowIdentity("sha256:" + "f" * 64, LAYOUT, "fp32", GEOMETRY)
        batcher.start()
        ranked: list[Reducer] = []
        cache = RowCache(identity, uploads, store, preparer, batcher, permits, shared)
        rankings = Rankings(store, permits, ranked.append, shared)
        encoder = Encoder(JobBuilder(identity, uploads, permits, 1_310_720), cache, rankings)
        yield Parts(encoder, uploads, store, decoder, tower, ranked, permits, shared)
        await encoder.written()
        await encoder.close()
        await shared.close()
        preparer.close()
        decoder.close()
