"""The assembly of the encoder, in order: settings, logs, checkpoint, store, server, tower, ready."""

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
    """Run until SIGTERM. Exits with 2 for wrong settings, 1 for a failed start, with a single clear line."""
    config = settings.load(
        EncoderSettings, argv, program="python -m encoder_svc", description="Fovea's encoder service"
    )
    keep_freed_memory()
    logs.configure(config.log_form, config.log_level)
    logs.adopt_libraries(config.log_form)
    log.info("settings", **settings.printable(config))
    run(serve(config), "encoder", (FoveaError, OSError, ValueError))


def _image_limits(config: EncoderSettings) -> ImageLimits:
    return ImageLimits(
        max_bytes=config.max_image_bytes,
        max_pixels=config.max_image_pixels,
        max_side=config.max_image_side,
        max_aspect=config.max_image_aspect,
        max_scans=config.max_jpeg_scans,
    )


def _limits(config: EncoderSettings, geometry: Geometry) -> EncoderLimits:
    return EncoderLimits(
        max_message_bytes=config.max_message_bytes,
        max_image_bytes=config.max_image_bytes,
        max_image_pixels=config.max_image_pixels,
        max_image_side=config.max_image_side,
        max_image_aspect=config.max_image_aspect,
        max_jpeg_scans=config.max_jpeg_scans,
        default_max_pixels=geometry.within(config.max_pixels),
        max_pixels=geometry.max_pixels,
        min_pixels=geometry.min_pixels,
        max_batch_patches=config.batch_patches,
        max_queue=config.max_queue,
        cache_bytes=config.cache_bytes,
        uploads_bytes=config.uploads_bytes,
        arena_bytes=config.arena_bytes,
        arena_lease_s=config.arena_lease_s,
        idle_s=config.idle_s,
    )


async def serve(config: EncoderSettings) -> None:
    """Open the store and bind, then load the tower, so that health and GetServerInfo answer meanwhile."""
    check_folder(config.model)
    architecture.check_processor(config.model)
    geometry = Geometry.from_checkpoint(config.model)
    device = pick_devices(config.device)[0]
    dtype = pick_dtype(config.dtype, config.device)
    limits = StoreLimits(config.cache_bytes, config.uploads_bytes)
    with closing(await asyncio.to_thread(LmdbStore, config.cache_dir, limits)) as store:
        policy = UploadPolicy(config.max_image_bytes, config.upload_ttl_s, tenant_id(TENANT))
        threads = min(config.decode_threads, cores())
        with closing(ThreadDecoder(_image_limits(config), threads)) as decoder:
            uploads = Uploads(store, decoder, policy)
            description = EncoderDescription(
                config.name,
                config.model_title,
                geometry,
                _limits(config, geometry),
                device,
                dtype.value,
            )
            state = ServiceState(description, store, uploads)
            with closing(ImagePreparer(decoder, geometry, threads)) as preparer:
                await _serve(config, state, uploads, store, preparer, dtype)


async def _serve(
    config: EncoderSettings,
    state: ServiceState,
    uploads: Uploads,
    store: LmdbStore,
    preparer: ImagePreparer,
    dtype: RowDtype,
) -> None:
    registry = CollectorRegistry()
    metrics = EncoderMetrics(registry)
    metrics.watch(state.load, state.description.limits)
    metrics.watch_arena(state.arena_use)
    state.on_served = metrics.served
    state.on_placed = metrics.placed
    process = ServerProcess(
        Binding(
            config.listen, config.metrics_listen, config.max_message_bytes, config.idle_s, config.access()
        ),
        SERVICE,
        lambda server: register(EncoderService(state), server),
        registry,
    )
    await process.start()
    log.info("listening", port=process.port, model=state.description.model, device=state.description.device)
    encoder: Encoder | None = None
    leases: RowLeases | None = None
    try:
        encoder = await process.unless_stopped(_load(config, state, uploads, store, preparer, dtype))
        encoder.rankings.on_made = metrics.ranked
        if config.arena_bytes:
            leases = RowLeases(await asyncio.to_thread(Arena, config.arena_bytes), config.arena_lease_s)
        state.open(encoder, leases)
        keep_loaded_objects()
        await process.ready()
        log.info("ready", fingerprint=state.fingerprint, dtype=dtype.value, rows=str(state.layout))
        await process.until_stopped(encoder.batcher.died())
    finally:
        state.draining = True
        await process.drain(config.grace_s)
        if encoder is not None:
            await encoder.batcher.close()
            await encoder.close()
        if leases is not None:
            await leases.close()


async def _load(
    config: EncoderSettings,
    state: ServiceState,
    uploads: Uploads,
    store: LmdbStore,
    preparer: ImagePreparer,
    dtype: RowDtype,
) -> Encoder:
    """Load the tower, which runs a dummy image, and compute the fingerprint of its weights."""
    # Importing torch takes seconds. A thread keeps the event loop free to answer health checks.
    tower_module = await asyncio.to_thread(import_module, "encoder_svc.vision.tower")

    def progress(done: int, total: int) -> None:
        state.progress = 0.9 * done / max(1, total)

    tower_module.set_threads(config.threads)
    tower: Tower = await asyncio.to_thread(
        tower_module.Tower.load, config.model, state.description.device, dtype, progress
    )
    identity = RowIdentity(
        await asyncio.to_thread(fingerprint, config.model),
        tower.layout(RowDtype(config.row_dtype)),
        dtype.value,
        state.description.geometry,
    )

    def compute(images: Sequence[Patches], saliency: bool) -> list[TowerOutput]:
        rows = tower.encode(images, identity.layout.dtype, saliency)
        state.encodes += len(images)
        return rows

    wait = config.max_batch_wait_ms / 1000
    batcher = Batcher(
        compute,
        BatchLimits(config.batch_patches, max_queue=config.max_queue, max_wait_s=wait),
    )
    batcher.start()
    return Encoder(identity, uploads, store, preparer, batcher, config.max_pixels)
