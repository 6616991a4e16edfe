"""The assembly of the encoder, in order: settings, logs, checkpoint, server, store, tower, ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, closing
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from prometheus_client import CollectorRegistry

from encoder_svc.core import RowIdentity
from encoder_svc.encoder import Encoder
from encoder_svc.gate.gate import GateSettings
from encoder_svc.images.decoder import Decoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.job_builder import JobBuilder
from encoder_svc.leases import RowLeases
from encoder_svc.metrics import EncoderMetrics
from encoder_svc.permits import WritePermits
from encoder_svc.rankings import Rankings
from encoder_svc.reading.engine import find_reader
from encoder_svc.reading.reader import ReaderLimits, TextReader
from encoder_svc.row_cache import RowCache
from encoder_svc.service import SERVICE, EncoderService, register
from encoder_svc.settings import EncoderSettings
from encoder_svc.shared.level import NOT_SHARED, SecondLevel, SharedLimits
from encoder_svc.state import EncoderDescription, EncoderLimits, ServiceState
from encoder_svc.store.maintenance import Upkeep
from encoder_svc.store.store import LmdbStore
from encoder_svc.texts import Texts
from encoder_svc.uploads import UploadPolicy, Uploads
from encoder_svc.vision.batcher import MAX_PREPARED_PATCHES, Batcher, BatchLimits
from encoder_svc.vision.output import TowerOutput
from encoder_svc.vision.prepare import ImagePreparer, PreparedImage
from encoder_svc.vision.preprocess import Patches
from encoder_svc.vision.queued_image import QueuedImage
from fovea import architecture, logs, settings
from fovea.arena import Arena
from fovea.checkpoint import check_folder
from fovea.contract.errors import FoveaError, TextReaderMissing
from fovea.contract.rows import RowDtype
from fovea.fingerprint import fingerprint
from fovea.geometry import Geometry
from fovea.machine import cores, pick_devices, pick_dtype
from fovea.nursery.limits import ChildLimits
from fovea.server.allocator import keep_freed_memory, keep_loaded_objects
from fovea.server.background import in_background
from fovea.server.entry import run
from fovea.server.liveness import Liveness
from fovea.server.process import Binding, ServerProcess
from fovea.server.tracing import open_traces

if TYPE_CHECKING:
    from encoder_svc.vision.tower import Tower

PREPARED_BATCHES = 6
"""Batches prepared while the tower runs: few, because they are computed before images that come later."""
Limits = TypeVar("Limits", ImageLimits, EncoderLimits)
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
    run(serve(config, record_crash=True), "encoder", (FoveaError, OSError, ValueError))


def _limits(kind: type[Limits], config: EncoderSettings, **derived: Any) -> Limits:
    """The limits that have the name of their setting, and `derived`."""
    names = {field.name for field in fields(kind)}
    return kind(**config.model_dump(include=names - derived.keys()), **derived)


def _describe(config: EncoderSettings, geometry: Geometry) -> EncoderDescription:
    return EncoderDescription(
        config.name,
        config.model_title,
        geometry,
        _limits(
            EncoderLimits,
            config,
            default_max_pixels=geometry.within(config.max_pixels),
            max_pixels=geometry.max_pixels,
            min_pixels=geometry.min_pixels,
            max_batch_patches=config.batch_patches,
        ),
        pick_devices(config.device)[0],
        pick_dtype(config.dtype, config.device).value,
        config.shared_rows,
        config.text_on_put,
    )


async def serve(config: EncoderSettings, record_crash: bool = False) -> None:
    """Bind, so that health and GetServerInfo answer while the store opens and the tower loads.

    `record_crash` takes the fault handler of the whole process, so that the next start knows whether the
    store's code was killed by a signal.
    """
    check_folder(config.model)
    architecture.check_processor(config.model)
    geometry = Geometry.from_checkpoint(config.model)
    description = _describe(config, geometry)
    threads = min(config.decode_threads, cores())
    with (
        ExitStack() as opened,
        closing(_decoder(config)) as decoder,
        closing(ImagePreparer(decoder, geometry, threads)) as preparer,
    ):
        permits = WritePermits()
        shared = _open_shared(config, permits)
        state = ServiceState(description, permits)
        registry = CollectorRegistry()
        metrics = EncoderMetrics(registry, state)
        process = ServerProcess(
            _binding(config),
            SERVICE,
            lambda server: register(EncoderService(state, metrics), server),
            registry,
        )

        async def open_store() -> tuple[LmdbStore, Uploads]:
            await shared.start()
            store = opened.enter_context(await asyncio.to_thread(_open_store, config))
            if record_crash:
                store.record_crash()
            uploads = Uploads(
                store, decoder, UploadPolicy(config.max_image_bytes, config.upload_ttl_s), shared
            )
            reader = await asyncio.to_thread(_reader, config)
            state.open_store(store, uploads, Texts(store, uploads, reader, permits, metrics.read), shared)
            return store, uploads

        async def load() -> tuple[Encoder, Tower]:
            # The check of a full store takes a process of its own as long as the tower takes to load.
            (store, uploads), tower = await asyncio.gather(open_store(), _load_tower(config, state))
            identity = await asyncio.to_thread(_identity, config, description, tower)
            batcher = _start_batcher(config, tower, identity)
            jobs = JobBuilder(identity, uploads, permits, config.max_pixels)
            cache = RowCache(identity, uploads, store, preparer, batcher, permits, shared)
            return Encoder(jobs, cache, Rankings(store, permits, metrics.ranked, shared)), tower

        try:
            await _serve(config, state, process, load)
        finally:
            await shared.close()


def _open_store(config: EncoderSettings) -> LmdbStore:
    upkeep = Upkeep(config.store_check_s, config.compaction_s)
    return LmdbStore(config.cache_dir, config.store_limits, upkeep)


def _binding(config: EncoderSettings) -> Binding:
    return Binding(
        config.listen,
        config.metrics_listen,
        config.max_message_bytes,
        config.request_limits(),
        config.access(),
        config.connection_limits(),
        traces=open_traces(config.otel_endpoint, "fovea-encoder"),
        health_listen=config.health_listen,
    )


def _open_shared(config: EncoderSettings, permits: WritePermits) -> SecondLevel:
    """The second level, not connected. Raises ValueError without the client library, or for no URL."""
    if not config.shared_cache_urls:
        return NOT_SHARED
    if find_spec("valkey") is None:
        raise ValueError("shared_cache needs valkey: pip install 'fovea[valkey]'")
    from encoder_svc.shared.cache import SharedCache
    from encoder_svc.shared.servers import Servers

    limits = SharedLimits(
        config.shared_cache_timeout_ms / 1000,
        config.shared_cache_write_timeout_ms / 1000,
        config.shared_cache_rest_s,
        config.shared_cache_connections,
        config.shared_cache_queue_bytes,
        config.shared_cache_ttl_s,
    )
    return SharedCache(Servers(config.shared_cache_urls, limits), limits, permits)


def _decoder(config: EncoderSettings) -> Decoder:
    child = ChildLimits(config.max_decode_s, config.max_decode_memory_bytes)
    gate = GateSettings(config.gate_confidence, log_form=config.log_form, log_level=config.log_level)
    learned = gate if config.gate == "learned" else None
    return Decoder(
        _limits(ImageLimits, config),
        child,
        config.decode_workers,
        gate=learned,
        several_tenants=config.tokens is not None,
    )


def _reader(config: EncoderSettings) -> TextReader | TextReaderMissing:
    """The reader of text, not started; or why there is none."""
    child = ChildLimits(config.max_text_s, config.max_text_memory_bytes)
    limits = ReaderLimits(config.max_text_bytes, config.text_workers, config.max_text_queue)
    try:
        return TextReader(find_reader(config.text_reader), _limits(ImageLimits, config), limits, child)
    except TextReaderMissing as missing:
        log.info("no_text_reader", reader=missing.reader, why=missing.why)
        return missing


async def _serve(
    config: EncoderSettings,
    state: ServiceState,
    process: ServerProcess,
    load: Callable[[], Coroutine[Any, Any, tuple[Encoder, Tower]]],
) -> None:
    description = state.description
    await process.start()
    log.info("listening", port=process.port, model=description.model, device=description.device)
    encoder: Encoder | None = None
    leases: RowLeases | None = None
    try:
        loaded, tower = await process.unless_stopped(load())
        encoder = loaded
        if config.arena_bytes:
            arena = await asyncio.to_thread(Arena, config.arena_bytes)
            leases = RowLeases(encoder, arena, config.arena_lease_s)
        state.open(encoder, leases)
        keep_loaded_objects()
        await process.ready()
        log.info("ready", fingerprint=state.fingerprint, dtype=description.dtype, rows=str(state.layout))
        async with _liveness(config, description.geometry, encoder.cache.batcher, tower, process).watched():
            await process.until_stopped(encoder.cache.batcher.died())
    finally:
        state.draining = True
        await process.drain(config.grace_s)
        await state.close_texts()
        if encoder is not None:
            await encoder.close()
        if leases is not None:
            await leases.close()


def _liveness(
    config: EncoderSettings, geometry: Geometry, batcher: Batcher, tower: Tower, process: ServerProcess
) -> Liveness:
    """Encodes a grey cell behind the prepared images while the tower does not proceed. A large image may take
    minutes on a CPU, so each block of the tower is progress.
    """
    blank = PreparedImage(Patches.blank(geometry), decode_ms=0.0, preprocess_ms=0.0)

    async def prepared() -> PreparedImage:
        return blank

    return Liveness(
        lambda: tower.blocks_computed,
        lambda: batcher.encode(QueuedImage(0, prepared, dummy=True)),
        config.liveness_interval_s,
        config.liveness_limit_s,
        process.set_live,
    )


async def _load_tower(config: EncoderSettings, state: ServiceState) -> Tower:
    """Load the tower, which runs a dummy image."""
    # Importing torch takes seconds. A thread keeps the event loop free to answer health checks.
    tower_module = await in_background(import_module, "encoder_svc.vision.tower")

    def progress(done: int, total: int) -> None:
        state.progress = 0.9 * done / max(1, total)

    tower_module.set_threads(config.threads)
    description = state.description
    tower: Tower = await in_background(
        tower_module.Tower.load, config.model, description.device, RowDtype(description.dtype), progress
    )
    return tower


def _identity(config: EncoderSettings, description: EncoderDescription, tower: Tower) -> RowIdentity:
    """Computes the fingerprint of the checkpoint's weights."""
    layout = tower.layout(RowDtype(config.row_dtype))
    return RowIdentity(fingerprint(config.model), layout, description.dtype, description.geometry)


def _start_batcher(config: EncoderSettings, tower: Tower, identity: RowIdentity) -> Batcher:
    def compute(images: Sequence[Patches], saliency: bool) -> list[TowerOutput]:
        return tower.encode(images, identity.layout.dtype, saliency)

    wait_s = config.max_batch_wait_ms / 1000
    limits = BatchLimits(
        config.batch_patches,
        min(MAX_PREPARED_PATCHES, PREPARED_BATCHES * config.batch_patches),
        config.max_queue,
        wait_s,
        config.default_deadline_s,
        config.max_wait_share,
        config.max_tenant_images,
        several_tenants=config.tokens is not None,
    )
    batcher = Batcher(compute, limits)
    batcher.start()
    return batcher
