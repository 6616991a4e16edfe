"""The whole assembly of the encoder, in order: settings, logs, checkpoint, store, server, tower, ready."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from importlib import import_module
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from encoder_svc.core import RowIdentity
from encoder_svc.encoder import Encoder
from encoder_svc.images.decoder import ThreadDecoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.leases import RowLeases
from encoder_svc.metrics import EncoderMetrics
from encoder_svc.service import SERVICE, EncoderService, register
from encoder_svc.settings import EncoderSettings
from encoder_svc.state import EncoderDescription, EncoderLimits, ServiceState
from encoder_svc.store.core import StoreLimits
from encoder_svc.store.keys import tenant_id
from encoder_svc.store.store import LmdbStore
from encoder_svc.uploads import UploadPolicy, Uploads
from encoder_svc.vision.batcher import Batcher, BatchLimits
from encoder_svc.vision.output import TowerOutput
from encoder_svc.vision.prepare import ImagePreparer
from encoder_svc.vision.preprocess import Patches
from fovea import architecture, logs, settings
from fovea.arena import Arena
from fovea.checkpoint import check_folder
from fovea.contract.errors import FoveaError
from fovea.contract.rows import RowDtype
from fovea.fingerprint import fingerprint
from fovea.geometry import Geometry
from fovea.machine import cores, pick_devices, pick_dtype
from fovea.server.allocator import keep_freed_memory, keep_loaded_objects
from fovea.server.entry import run
from fovea.server.process import Binding, ServerProcess

if TYPE_CHECKING:
    from encoder_svc.vision.tower import Tower

TENANT = "default"
log = structlog.get_logger()


def main(argv: Sequence[str]) -> None:
    """Run until SIGTERM. Exits with 2 for wrong settings, 1 where the start fails, with one clear line."""
    chosen = settings.load(
        EncoderSettings, argv, program="python -m encoder_svc", description="Fovea's encoder service"
    )
    keep_freed_memory()
    logs.configure(chosen.log_form, chosen.log_level)
    logs.adopt_libraries(chosen.log_form)
    log.info("settings", **settings.printable(chosen))
    run(serve(chosen), "encoder", (FoveaError, OSError, ValueError))


def _image_limits(chosen: EncoderSettings) -> ImageLimits:
    return ImageLimits(
        max_bytes=chosen.max_image_bytes,
        max_pixels=chosen.max_image_pixels,
        max_side=chosen.max_image_side,
        max_aspect=chosen.max_image_aspect,
        max_scans=chosen.max_jpeg_scans,
    )


def _limits(chosen: EncoderSettings, geometry: Geometry) -> EncoderLimits:
    return EncoderLimits(
        max_message_bytes=chosen.max_message_bytes,
        max_image_bytes=chosen.max_image_bytes,
        max_image_pixels=chosen.max_image_pixels,
        max_image_side=chosen.max_image_side,
        max_image_aspect=chosen.max_image_aspect,
        max_jpeg_scans=chosen.max_jpeg_scans,
        default_max_pixels=geometry.within(chosen.max_pixels),
        max_pixels=geometry.max_pixels,
        min_pixels=geometry.min_pixels,
        max_batch_patches=chosen.batch_patches,
        max_queue=chosen.max_queue,
        cache_bytes=chosen.cache_bytes,
        uploads_bytes=chosen.uploads_bytes,
        arena_bytes=chosen.arena_bytes,
        arena_lease_s=chosen.arena_lease_s,
        idle_s=chosen.idle_s,
    )


async def serve(chosen: EncoderSettings) -> None:
    """Open the store, bind, then load the tower, so that health and GetServerInfo answer meanwhile."""
    check_folder(chosen.model)
    architecture.check_processor(chosen.model)
    geometry = Geometry.from_checkpoint(chosen.model)
    device = pick_devices(chosen.device)[0]
    dtype = pick_dtype(chosen.dtype, chosen.device)
    limits = StoreLimits(chosen.cache_bytes, chosen.uploads_bytes)
    with closing(await asyncio.to_thread(LmdbStore, chosen.cache_dir, limits)) as store:
        policy = UploadPolicy(chosen.max_image_bytes, chosen.upload_ttl_s, tenant_id(TENANT))
        threads = min(chosen.decode_threads, cores())
        with closing(ThreadDecoder(_image_limits(chosen), threads)) as decoder:
            uploads = Uploads(store, decoder, policy)
            card = EncoderDescription(
                chosen.name,
                chosen.model_title,
                geometry,
                _limits(chosen, geometry),
                device,
                dtype.value,
            )
            front = ServiceState(card, store, uploads)
            with closing(ImagePreparer(decoder, geometry, threads)) as preparer:
                await _serve(chosen, front, uploads, store, preparer, dtype)


async def _serve(
    chosen: EncoderSettings,
    front: ServiceState,
    uploads: Uploads,
    store: LmdbStore,
    preparer: ImagePreparer,
    dtype: RowDtype,
) -> None:
    registry = CollectorRegistry()
    metrics = EncoderMetrics(registry)
    metrics.watch(front.load, front.card.limits)
    metrics.watch_arena(front.arena_use)
    front.on_served = metrics.served
    front.on_placed = metrics.placed
    process = ServerProcess(
        Binding(chosen.listen, chosen.metrics_listen, chosen.max_message_bytes, chosen.idle_s),
        SERVICE,
        lambda server: register(EncoderService(front), server),
        registry,
    )
    await process.start()
    log.info("listening", port=process.port, model=front.card.model, device=front.card.device)
    encoder: Encoder | None = None
    leases: RowLeases | None = None
    try:
        encoder = await process.unless_stopped(_load(chosen, front, uploads, store, preparer, dtype))
        encoder.rankings.on_made = metrics.ranked
        if chosen.arena_bytes:
            leases = RowLeases(await asyncio.to_thread(Arena, chosen.arena_bytes), chosen.arena_lease_s)
        front.open(encoder, leases)
        keep_loaded_objects()
        await process.ready()
        log.info("ready", fingerprint=front.fingerprint, dtype=dtype.value, rows=str(front.layout))
        await process.until_stopped(encoder.batcher.died())
    finally:
        front.draining = True
        await process.drain(chosen.grace_s)
        if encoder is not None:
            await encoder.batcher.close()
            await encoder.close()
        if leases is not None:
            await leases.close()


async def _load(
    chosen: EncoderSettings,
    front: ServiceState,
    uploads: Uploads,
    store: LmdbStore,
    preparer: ImagePreparer,
    dtype: RowDtype,
) -> Encoder:
    """Load the tower, which answers a dummy, and compute the fingerprint of what was loaded."""
    # Importing torch takes seconds: beside the event loop, so that health answers meanwhile.
    tower_module = await asyncio.to_thread(import_module, "encoder_svc.vision.tower")

    def progress(done: int, total: int) -> None:
        front.progress = 0.9 * done / max(1, total)

    tower_module.set_threads(chosen.threads)
    tower: Tower = await asyncio.to_thread(
        tower_module.Tower.load, chosen.model, front.card.device, dtype, progress
    )
    identity = RowIdentity(
        await asyncio.to_thread(fingerprint, chosen.model),
        tower.layout(RowDtype(chosen.row_dtype)),
        dtype.value,
        front.card.geometry,
    )

    def compute(images: Sequence[Patches], saliency: bool) -> list[TowerOutput]:
        rows = tower.encode(images, identity.layout.dtype, saliency)
        front.encodes += len(images)
        return rows

    wait = chosen.max_batch_wait_ms / 1000
    batcher = Batcher(
        compute,
        BatchLimits(chosen.batch_patches, max_queue=chosen.max_queue, max_wait_s=wait),
    )
    batcher.start()
    return Encoder(identity, uploads, store, preparer, batcher, chosen.max_pixels)
