"""Assembly of the decoder, in order: settings, logs, checkpoint, server, engine, dummy request, ready."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import structlog
from prometheus_client import CollectorRegistry

from decoder_svc.answer import Answerer, ModelFacts, RequestLimits
from decoder_svc.budget.cost import PrefillCost
from decoder_svc.budget.pressure import Pressure
from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.fleet import ExpectedModel
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.encoders.resolver import Lookup, Resolver, lookup
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.encoders.watch import EncoderWatch
from decoder_svc.engine.protocol import Engine, EngineRequest, RowChunk, Sampling
from decoder_svc.engine.protocol import EngineLimits as EngineLimits
from decoder_svc.metrics import DecoderMetrics
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart
from decoder_svc.service import DecoderService
from decoder_svc.settings import DecoderSettings
from decoder_svc.state import DecoderDescription, DecoderLimits, LoadingProgress, ServiceState
from decoder_svc.vllm_engine.engine import VllmEngine
from decoder_svc.vllm_engine.settings import VllmSettings
from fovea import architecture, logs, settings
from fovea.checkpoint import check_folder
from fovea.contract.errors import FoveaError
from fovea.contract.rows import RowDtype, RowLayout
from fovea.decoder.v1 import decoder_pb2_grpc
from fovea.fingerprint import fingerprint
from fovea.geometry import Geometry
from fovea.machine import pick_devices, pick_dtype
from fovea.server.allocator import keep_freed_memory, keep_loaded_objects
from fovea.server.entry import run
from fovea.server.process import Binding, ServerProcess

SERVICE = "fovea.decoder.v1.DecoderService"
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


def _limits(chosen: DecoderSettings, geometry: Geometry) -> DecoderLimits:
    return DecoderLimits(
        max_message_bytes=chosen.max_message_bytes,
        max_context=chosen.max_context,
        max_new_tokens=chosen.max_new_tokens,
        default_max_new_tokens=min(chosen.default_max_new_tokens, chosen.max_new_tokens),
        max_images=chosen.max_images,
        default_max_pixels=geometry.within(chosen.max_pixels),
        max_pixels=geometry.max_pixels,
        min_pixels=geometry.min_pixels,
        max_running=chosen.max_running,
        max_waiting=chosen.max_waiting,
        max_stop_strings=chosen.max_stop_strings,
        max_image_bytes=chosen.max_image_bytes,
        row_cache_bytes=chosen.row_cache_bytes,
        row_cache_s=chosen.row_cache_s,
        max_format_bytes=chosen.max_format_bytes,
        idle_s=chosen.idle_s,
        encoder_timeout_s=chosen.encoder_timeout_s,
        max_format_s=chosen.max_format_s,
        max_format_memory_bytes=chosen.max_format_memory_bytes,
        format_workers=chosen.format_workers,
    )


def _engine_limits(chosen: DecoderSettings) -> EngineLimits:
    return EngineLimits(
        chosen.max_context,
        chosen.max_new_tokens,
        chosen.max_waiting,
        chosen.max_stop_strings,
        chosen.max_format_bytes,
        chosen.max_format_s,
        chosen.max_format_memory_bytes,
        chosen.format_workers,
    )


def _native(chosen: DecoderSettings, dtype: RowDtype, loading: LoadingProgress) -> NativeEngine:
    """The engine, not started."""
    return NativeEngine(
        NativeSettings(
            checkpoint=chosen.model,
            dtype=dtype,
            devices=pick_devices(chosen.device),
            kv_tokens=chosen.kv_tokens,
            prefill_chunk=chosen.prefill_chunk,
            max_running=chosen.max_running,
            threads=chosen.threads,
            quantization="int8" if chosen.quantization == "int8" else "none",
            prefix_cache=chosen.prefix_cache,
            overlap=chosen.overlap,
            delta_interval_s=chosen.delta_interval_ms / 1000,
            limits=_engine_limits(chosen),
        ),
        loading.update,
    )


def _vllm(chosen: DecoderSettings, dtype: RowDtype, loading: LoadingProgress) -> VllmEngine:
    """The engine, not started. vLLM reports no progress while it loads."""
    return VllmEngine(
        VllmSettings(
            checkpoint=chosen.model,
            dtype=dtype,
            kv_tokens=chosen.kv_tokens,
            kv_token_bytes=kv_bytes_per_token(chosen.model, dtype),
            prefill_chunk=chosen.prefill_chunk,
            max_running=chosen.max_running,
            max_images=chosen.max_images,
            threads=chosen.threads,
            quantization=chosen.quantization,
            prefix_cache=chosen.prefix_cache,
            tensor_parallel=chosen.tensor_parallel,
            pipeline_parallel=chosen.pipeline_parallel,
            gpu_memory_utilization=chosen.gpu_memory_utilization,
            enforce_eager=chosen.enforce_eager,
            limits=_engine_limits(chosen),
        )
    )


ENGINES: Mapping[str, Callable[[DecoderSettings, RowDtype, LoadingProgress], Engine]] = {
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
    width, levels = vision.out_hidden_size, len(vision.deepstack_visual_indexes)
    cache = RowCache(chosen.row_cache_bytes, chosen.row_cache_s)
    same_host = SharedMemoryReader(chosen.same_host)
    pool = EncoderPool(
        ExpectedModel(expected, width, levels),
        chosen.encoders,
        chosen.encoder_addresses,
        cache,
        same_host,
        chosen.encoder_timeout_s,
        chosen.encoder_credentials(),
    )
    loading = LoadingProgress()
    engine = ENGINES[chosen.engine](chosen, dtype, loading)
    limits = _limits(chosen, geometry)
    budget = chosen.budget(limits.default_max_pixels)
    description = DecoderDescription(
        facts.name, expected, chosen.engine, dtype.value, facts.kv_bytes_per_token, limits, budget
    )
    registry = CollectorRegistry()
    metrics = DecoderMetrics(registry)
    state = ServiceState(description, engine, pool, metrics, loading)
    metrics.watch(state.load, limits)
    metrics.watch_cache(cache)
    metrics.watch_same_host(same_host)
    await _run(
        chosen,
        Parts(state, engine, pool, facts, builder, RowLayout(width, levels, RowDtype.FP32)),
        registry,
        lookup,
    )


@dataclass(frozen=True)
class Parts:
    """The components that are assembled before the server starts."""

    state: ServiceState
    engine: Engine
    pool: EncoderPool
    facts: ModelFacts
    builder: PromptBuilder
    dummy_layout: RowLayout


async def _run(chosen: DecoderSettings, parts: Parts, registry: CollectorRegistry, lookup: Lookup) -> None:
    state, engine, pool = parts.state, parts.engine, parts.pool
    process = ServerProcess(
        Binding(
            chosen.listen, chosen.metrics_listen, chosen.max_message_bytes, chosen.idle_s, chosen.access()
        ),
        SERVICE,
        lambda server: decoder_pb2_grpc.add_DecoderServiceServicer_to_server(DecoderService(state), server),
        registry,
    )
    await process.start()
    log.info("listening", port=process.port, model=parts.facts.name, fingerprint=parts.facts.fingerprint)
    watch = EncoderWatch(
        pool, parts.facts.fingerprint, chosen.encoder_check_s, partial(process.set_condition, "encoders")
    )
    background = [asyncio.create_task(_follow(chosen, pool, lookup))]
    try:
        await process.unless_stopped(_load(engine, parts.builder, parts.dummy_layout))
        state.open(_answerer(chosen, parts), engine.description)
        keep_loaded_objects()
        await watch.check()
        background.append(asyncio.create_task(watch.run()))
        await process.ready()
        log.info("ready", attention=engine.description, dtype=state.description.dtype)
        await process.until_stopped(engine.died())
    finally:
        state.draining = True
        await process.drain(chosen.grace_s)
        await engine.close()
        for task in background:
            task.cancel()
        await pool.close()


def _answerer(chosen: DecoderSettings, parts: Parts) -> Answerer:
    limits = parts.state.description.limits
    pressure = Pressure(chosen.pressure_queue, chosen.pressure_kv)
    request_limits = RequestLimits(limits.max_images, limits.max_image_bytes, pressure, chosen.tariff)
    return Answerer(parts.engine, parts.builder, parts.facts, request_limits)


async def _follow(chosen: DecoderSettings, pool: EncoderPool, lookup: Lookup) -> None:
    """Keep the pool in step with the DNS name of the encoders, if the settings give a name."""
    if chosen.encoder_name:
        await Resolver(chosen.encoder_name, chosen.resolve_s, pool.update, lookup).run()


async def _load(engine: Engine, builder: PromptBuilder, layout: RowLayout) -> None:
    """Load the weights and answer a dummy request with a single-row image."""
    await engine.start()
    messages = (ChatMessage("user", (ImagePart(0), TextPart("?"))),)
    prompt = builder.build(messages, [(1, 2, 2)])
    row = np.zeros(layout.values, dtype=np.float32).tobytes()

    async def rows() -> AsyncIterator[RowChunk]:
        yield RowChunk(0, 1, row)

    request = EngineRequest("dummy", prompt, Sampling(max_new_tokens=1))
    async for _ in engine.submit(request, [rows()], layout):
        pass
