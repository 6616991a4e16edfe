"""Assembly of the decoder, in order: settings, logs, checkpoint, server, engine, dummy request, ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import numpy as np
import structlog
from prometheus_client import CollectorRegistry

from decoder_svc.admission import Admission, Places
from decoder_svc.answer import Answerer, ModelFacts
from decoder_svc.budget.cost import PrefillCost
from decoder_svc.budget.pressure import Pressure
from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.encoders.remote import ExpectedModel
from decoder_svc.encoders.resolver import Lookup, Resolver, lookup
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.encoders.watch import EncoderWatch
from decoder_svc.engine.protocol import Engine, EngineLimits, EngineRequest, Prompt, RowChunk
from decoder_svc.ledger.ledger import Ledger, open_ledger
from decoder_svc.ledger.quote import QuoteSigner
from decoder_svc.ledger.recorder import Recorder
from decoder_svc.metrics import DecoderMetrics
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart
from decoder_svc.service import DecoderService
from decoder_svc.settings import DecoderSettings
from decoder_svc.state import DecoderDescription, LoadingProgress, ServiceState
from decoder_svc.usage_service import UsageService
from decoder_svc.vllm_engine.engine import VllmEngine
from decoder_svc.vllm_engine.settings import VllmSettings
from fovea import architecture, logs, settings
from fovea.checkpoint import check_folder
from fovea.contract.errors import FoveaError
from fovea.contract.rows import RowDtype, RowLayout
from fovea.contract.sampling import Sampling
from fovea.decoder.v1 import decoder_pb2_grpc, usage_pb2_grpc
from fovea.fingerprint import fingerprint
from fovea.geometry import Geometry
from fovea.machine import pick_devices, pick_dtype
from fovea.server.allocator import keep_freed_memory, keep_loaded_objects
from fovea.server.entry import run
from fovea.server.liveness import Liveness
from fovea.server.process import Binding, ServerProcess

SERVICE = "fovea.decoder.v1.DecoderService"
USAGE_SERVICE = "fovea.decoder.v1.UsageService"
log = structlog.get_logger()


def main(argv: Sequence[str]) -> None:
    """Run until SIGTERM. Exits with 2 for invalid settings, 1 if startup fails, and logs a single line."""
    chosen = settings.load(
        DecoderSettings, argv, program="python -m decoder_svc", description="Fovea's decoder service"
    )
    keep_freed_memory()
    logs.configure(chosen.log_form, chosen.log_level)
    logs.adopt_libraries(chosen.log_form)
    log.info("settings", **settings.printable(chosen))
    run(serve(chosen), "decoder", (FoveaError, OSError, ValueError))


def kv_bytes_per_token(folder: Path, dtype: RowDtype) -> int:
    """Bytes of keys and values over all layers: 2 * layers * KV heads * head size * bytes per value."""
    text = architecture.load(folder).text_config
    return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * dtype.itemsize


def _native(
    chosen: DecoderSettings, limits: EngineLimits, dtype: RowDtype, loading: LoadingProgress
) -> NativeEngine:
    """The engine, not started."""
    own = {
        "checkpoint": chosen.model,
        "dtype": dtype,
        "devices": pick_devices(chosen.device),
        "delta_interval_s": chosen.delta_interval_ms / 1000,
        "limits": limits,
    }
    return NativeEngine(NativeSettings(**chosen.named_in(NativeSettings) | own), loading.update)


def _vllm(
    chosen: DecoderSettings, limits: EngineLimits, dtype: RowDtype, loading: LoadingProgress
) -> VllmEngine:
    """The engine, not started. vLLM reports no progress while it loads."""
    own = {
        "checkpoint": chosen.model,
        "dtype": dtype,
        "kv_token_bytes": kv_bytes_per_token(chosen.model, dtype),
        "limits": limits,
    }
    return VllmEngine(VllmSettings(**chosen.named_in(VllmSettings) | own))


ENGINES: Mapping[str, Callable[[DecoderSettings, EngineLimits, RowDtype, LoadingProgress], Engine]] = {
    "native": _native,
    "vllm": _vllm,
}


async def serve(chosen: DecoderSettings, lookup: Lookup = lookup) -> None:
    """Bind, load, become ready. Binding first lets health and GetServerInfo answer while the model loads."""
    check_folder(chosen.model)
    config = architecture.load(chosen.model)
    geometry = Geometry.from_checkpoint(chosen.model)
    dtype = pick_dtype(chosen.dtype, chosen.device)
    expected = chosen.fingerprint or await asyncio.to_thread(fingerprint, chosen.model)
    facts = ModelFacts(
        chosen.model_title,
        expected,
        geometry,
        kv_bytes_per_token(chosen.model, dtype),
        PrefillCost.of(config.text_config.model_dump()),
    )
    builder = await asyncio.to_thread(PromptBuilder, chosen.model, chosen.max_context)
    vision = config.vision_config
    layout = RowLayout(vision.out_hidden_size, len(vision.deepstack_visual_indexes), RowDtype.FP32)
    cache = RowCache(chosen.row_cache_bytes, chosen.row_cache_s)
    same_host = SharedMemoryReader(chosen.same_host)
    model_rows = ExpectedModel(expected, layout.width, layout.levels)
    fleet = Fleet({}, model_rows, chosen.encoders, cache, same_host, copies=chosen.upload_copies)
    credentials = chosen.encoder_credentials()
    pool = EncoderPool(
        fleet, chosen.encoder_addresses, chosen.encoder_timeout_s, credentials, chosen.check_rows_digest
    )
    loading, limits = LoadingProgress(), chosen.limits(geometry)
    engine = ENGINES[chosen.engine](chosen, limits, dtype, loading)
    budget = chosen.budget(limits.default_max_pixels)
    registry = CollectorRegistry()
    metrics = DecoderMetrics(registry)
    description = DecoderDescription(facts, chosen.engine, dtype.value, limits, budget)
    state = ServiceState(description, engine, pool, loading)
    ledger = open_ledger(chosen, chosen.tariff.currency)
    sinks = [metrics.count, *(ledger.sinks if ledger else ())]
    recorder = Recorder(facts.name, sinks, ledger.quotas if ledger else None)
    metrics.watch(state.load, limits)
    metrics.watch_cache(cache)
    metrics.watch_same_host(same_host)
    metrics.watch_encoders(pool.up)
    if ledger is not None:
        metrics.watch_ledger(ledger)
    pressure = Pressure(chosen.pressure_queue, chosen.pressure_kv)
    admission = Admission(Places.of(limits, several_tenants=chosen.tokens is not None))
    answerer = Answerer(
        engine, builder, facts, limits.max_images, pressure, chosen.tariff, admission, chosen.shared_rows
    )
    dummy = EngineRequest("dummy", _dummy_prompt(builder), Sampling(max_new_tokens=1), dummy=True)
    await _run(
        chosen, Components(state, engine, pool, answerer, recorder, ledger, dummy, layout), registry, lookup
    )


@dataclass(frozen=True)
class Components:
    """What is assembled before the server starts; the dummy request has rows in `dummy_layout`."""

    state: ServiceState
    engine: Engine
    pool: EncoderPool
    answerer: Answerer
    recorder: Recorder
    ledger: Ledger | None
    dummy: EngineRequest
    dummy_layout: RowLayout


def _register(components: Components, quotes: QuoteSigner, server: grpc.aio.Server) -> None:
    """Add both services to the server."""
    decoder_pb2_grpc.add_DecoderServiceServicer_to_server(DecoderService(components.state, quotes), server)
    usage_pb2_grpc.add_UsageServiceServicer_to_server(UsageService(components.ledger), server)


async def _run(
    chosen: DecoderSettings, components: Components, registry: CollectorRegistry, lookup: Lookup
) -> None:
    state, engine, pool = components.state, components.engine, components.pool
    model, ledger = state.description.model, components.ledger
    quotes = QuoteSigner(chosen.quote_s, chosen.credential("quote_key_file"))
    process = ServerProcess(
        Binding(
            chosen.listen,
            chosen.metrics_listen,
            chosen.max_message_bytes,
            chosen.request_limits(),
            chosen.access(),
            chosen.connection_limits(),
            (components.recorder.layer,),
        ),
        SERVICE,
        partial(_register, components, quotes),
        registry,
        (USAGE_SERVICE,),
    )
    await process.start()
    if ledger is not None:
        ledger.start()
    log.info("listening", port=process.port, model=model.name, fingerprint=model.fingerprint)
    watch = EncoderWatch(
        pool,
        model.fingerprint,
        chosen.encoder_check_s,
        lambda fits: process.set_condition("encoders", fits or chosen.ready_without_encoders),
    )
    background = [asyncio.create_task(_follow(chosen, pool, lookup))]
    try:
        await process.unless_stopped(_load(engine, components.dummy, components.dummy_layout))
        state.open(components.answerer, engine.description)
        keep_loaded_objects()
        await watch.check()
        background.append(asyncio.create_task(watch.run()))
        await process.ready()
        log.info("ready", attention=engine.description, dtype=state.description.dtype)
        liveness = Liveness(
            lambda: engine.load().steps,
            lambda: _answer(engine, components.dummy, components.dummy_layout),
            chosen.liveness_interval_s,
            chosen.liveness_limit_s,
            process.set_live,
        )
        async with liveness.watched():
            await process.until_stopped(engine.died())
    finally:
        state.draining = True
        await process.drain(chosen.grace_s)
        await engine.close()
        if ledger is not None:
            await ledger.close()
        for task in background:
            task.cancel()
        await pool.close()


async def _follow(chosen: DecoderSettings, pool: EncoderPool, lookup: Lookup) -> None:
    """Keep the pool in step with the DNS name of the encoders, if the settings give a name."""
    if chosen.encoder_name:
        await Resolver(chosen.encoder_name, chosen.resolve_s, pool.update, lookup).run()


def _dummy_prompt(builder: PromptBuilder) -> Prompt:
    return builder.build((ChatMessage("user", (ImagePart(0), TextPart("?"))),), [(1, 2, 2)])


async def _load(engine: Engine, dummy: EngineRequest, layout: RowLayout) -> None:
    """Load the weights and answer a dummy request."""
    await engine.start()
    await _answer(engine, dummy, layout)


async def _answer(engine: Engine, dummy: EngineRequest, layout: RowLayout) -> None:
    """Answer a dummy request with a single-row image. No tenant's figures count it."""
    row = np.zeros(layout.values, dtype=np.float32).tobytes()

    async def rows() -> AsyncIterator[RowChunk]:
        yield RowChunk(0, 1, row)

    async with aclosing(engine.submit(dummy, [rows()], layout)) as deltas:
        async for _ in deltas:
            pass
