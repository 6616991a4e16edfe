"""An encoder on a real store, with a counting decoder and a counting fake tower."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoder_svc.core import RowIdentity
from encoder_svc.encoder import Encoder
from encoder_svc.images.decode import DecodedImage, Pixels
from encoder_svc.images.decoder import ThreadDecoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.job_builder import JobBuilder
from encoder_svc.permits import WritePermits
from encoder_svc.rankings import Rankings
from encoder_svc.row_cache import RowCache
from encoder_svc.store.core import StoreLimits
from encoder_svc.store.store import LmdbStore
from encoder_svc.tenant import Tenant
from encoder_svc.uploads import UploadPolicy, Uploads
from encoder_svc.vision.batcher import Batcher
from encoder_svc.vision.output import TowerOutput
from encoder_svc.vision.prepare import ImagePreparer
from encoder_svc.vision.preprocess import Patches
from fovea.contract.plan import Reducer
from fovea.contract.rows import RowDtype, RowLayout
from fovea.geometry import Geometry

LAYOUT = RowLayout(width=8, levels=3, dtype=RowDtype.FP32)
GEOMETRY = Geometry()
TENANT = Tenant.of("default")
MIB = 1024 * 1024
_PROJECTION = np.random.default_rng(1).normal(size=(4 * 1536, LAYOUT.values)).astype(np.float32)


class CountingDecoder(ThreadDecoder):
    """A decoder that counts its calls."""

    decodes = 0

    async def decode(self, data: bytes) -> DecodedImage:
        self.decodes += 1
        return await super().decode(data)

    async def pixels(self, data: bytes) -> Pixels:
        self.decodes += 1
        return await super().pixels(data)


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


@asynccontextmanager
async def running(directory: Path, capacity: int = 32 * MIB) -> AsyncIterator[Parts]:
    decoder, tower = CountingDecoder(ImageLimits()), FakeTower()
    batcher, preparer = Batcher(tower), ImagePreparer(decoder, GEOMETRY)
    with LmdbStore(directory, StoreLimits(capacity, 8 * MIB)) as store:
        uploads = Uploads(store, decoder, UploadPolicy(MIB, 3600))
        identity = RowIdentity("sha256:" + "f" * 64, LAYOUT, "fp32", GEOMETRY)
        permits = WritePermits()
        batcher.start()
        ranked: list[Reducer] = []
        cache = RowCache(identity, uploads, store, preparer, batcher, permits)
        rankings = Rankings(store, permits, ranked.append)
        encoder = Encoder(JobBuilder(identity, uploads, permits, 1_310_720), cache, rankings)
        yield Parts(encoder, uploads, store, decoder, tower, ranked, permits)
        await encoder.written()
        await encoder.close()
        preparer.close()
        decoder.close()
