"""Assembly of the decoder, in order: settings, logs, checkpoint, encoders, tiers, server, engines, ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import structlog
from prometheus_client import CollectorRegistry

from decoder_svc.encoders.cache import RowCache
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.encoders.resolver import Lookup, Resolver
from decoder_svc.encoders.shared_memory import SharedMemoryReader
from decoder_svc.encoders.watch import EncoderWatch
from decoder_svc.engine.protocol import Engine
from decoder_svc.ledger.ledger import Ledger, open_ledger
from decoder_svc.ledger.quote import QuoteSigner
from decoder_svc.ledger.recorder import Recorder
from decoder_svc.metrics import DecoderMetrics
from decoder_svc.service import DecoderService
from decoder_svc.settings import DecoderSettings
from decoder_svc.state import DecoderDescription, LoadingProgress, ServiceState
from decoder_svc.tiers.build import Parts, build_steps, measure, settings_of
from decoder_svc.tiers.file import read_tiers
from decoder_svc.tiers.own import OwnModel
from decoder_svc.tiers.router import Router, Step
from decoder_svc.tiers.served import build_model
from decoder_svc.tiers.shadow import ShadowOutlets
from decoder_svc.tiers.timing import DummyEngine
from decoder_svc.usage_service import UsageService
from fovea import logs, settings
from fovea.contract.errors import FoveaError
from fovea.decoder.v1 import decoder_pb2_grpc, usage_pb2_grpc
from fovea.dns import lookup
from fovea.server.allocator import keep_freed_memory, keep_loaded_objects
from fovea.server.entry import run
from fovea.server.liveness import Liveness, together
from fovea.server.process import Binding, ServerProcess
from fovea.server.tracing import open_traces

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


async def serve(chosen: DecoderSettings, lookup: Lookup = lookup) -> None:
    """Bind, load, become ready. Binding first lets health and GetServerInfo answer while the model loads."""
    entries = read_tiers(chosen.tiers, settings_of(), chosen.listen) if chosen.tiers else ()
    loading = LoadingProgress()
    model = await asyncio.to_thread(build_model, chosen, loading.update)
    cache = RowCache(chosen.row_cache_bytes, chosen.row_cache_s)
    same_host = SharedMemoryReader(chosen.same_host)
    fleet = Fleet({}, model.rows, chosen.encoders, cache, same_host, copies=chosen.upload_copies)
    credentials = chosen.encoder_credentials()
    pool = EncoderPool(
        fleet, chosen.encoder_addresses, chosen.encoder_timeout_s, credentials, chosen.check_rows_digest
    )
    registry = CollectorRegistry()
    metrics = DecoderMetrics(registry, chosen.metrics_tenants)
    limits, facts = model.limits, model.facts
    budget = chosen.budget(limits.default_max_pixels)
    description = DecoderDescription(facts, chosen.engine, model.dtype.value, limits, budget)
    ledger = open_ledger(chosen, chosen.tariff.currency)
    sinks = [metrics.count, *(ledger.sinks if ledger else ())]
    recorder = Recorder(facts.name, sinks, ledger.quotas if ledger else None)
    folder = chosen.tiers.parent if chosen.tiers else Path()
    own = OwnModel(facts.name, model.answerer, model.dummy)
    parts = Parts(chosen, folder, pool, model, own, _outlets(pool, ledger))
    router = Router(build_steps(entries, parts), model.answerer)
    state = ServiceState(description, router, pool, loading)
    metrics.watch(state.load, limits)
    metrics.watch_cache(cache)
    metrics.watch_same_host(same_host)
    metrics.watch_encoders(state.encoders_up)
    metrics.watch_tiers(router.steps)
    if ledger is not None:
        metrics.watch_ledger(ledger)
    await _run(chosen, Components(state, model.engine, pool, router, recorder, ledger), registry, lookup)


def _outlets(pool: EncoderPool, ledger: Ledger | None) -> ShadowOutlets:
    """Where shadow answers get encoders, and where they are recorded."""
    if ledger is None:
        return ShadowOutlets(pool.held)
    return ShadowOutlets(pool.held, ledger.writer.add, ledger.anomalies.note)


@dataclass(frozen=True)
class Components:
    """What is assembled before the server starts."""

    state: ServiceState
    engine: Engine
    pool: EncoderPool
    router: Router
    recorder: Recorder
    ledger: Ledger | None


def _register(components: Components, quotes: QuoteSigner, server: grpc.aio.Server) -> None:
    """Add both services to the server."""
    decoder_pb2_grpc.add_DecoderServiceServicer_to_server(DecoderService(components.state, quotes), server)
    usage_pb2_grpc.add_UsageServiceServicer_to_server(UsageService(components.ledger), server)


async def _run(
    chosen: DecoderSettings, components: Components, registry: CollectorRegistry, lookup: Lookup
) -> None:
    state, engine, pool = components.state, components.engine, components.pool
    model, router, ledger = state.description.model, components.router, components.ledger
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
            open_traces(chosen.otel_endpoint, "fovea-decoder"),
            chosen.health_listen,
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
        await process.unless_stopped(_load(router.steps))
        state.open(engine.description)
        keep_loaded_objects()
        await watch.check()
        watches = [watch, *(_tier_watch(tier_pool, chosen) for tier_pool in router.pools)]
        background += [asyncio.create_task(each.run()) for each in watches]
        await process.ready()
        log.info("ready", attention=engine.description, dtype=state.description.dtype)
        async with AsyncExitStack() as stack:
            for liveness in _liveness(router.dummies, chosen, process.set_live):
                await stack.enter_async_context(liveness.watched())
            await process.until_stopped(_first_death(router.engines))
    finally:
        state.draining = True
        await process.drain(chosen.grace_s)
        for step in router.steps:
            await step.tier.close()
        if ledger is not None:
            await ledger.close()
        for task in background:
            task.cancel()
        await pool.close()


def _tier_watch(pool: EncoderPool, chosen: DecoderSettings) -> EncoderWatch:
    """Logs when encoders of a tier serve another model. The decoder is ready without them."""
    return EncoderWatch(pool, pool.expected.fingerprint, chosen.encoder_check_s, lambda fits: None)


def _liveness(
    dummies: Sequence[DummyEngine], chosen: DecoderSettings, report: Callable[[bool], object]
) -> list[Liveness]:
    """A check of every engine. The process is alive while all of them compute."""
    return [
        Liveness(
            partial(_steps, dummy.engine),
            dummy.answer,
            chosen.liveness_interval_s,
            chosen.liveness_limit_s,
            report_one,
        )
        for dummy, report_one in zip(dummies, together(len(dummies), report), strict=True)
    ]


def _steps(engine: Engine) -> int:
    return engine.load().steps


async def _first_death(engines: Sequence[Engine]) -> FoveaError:
    """Waits until a failure ends one of the engines."""
    deaths = [asyncio.ensure_future(engine.died()) for engine in engines]
    try:
        await asyncio.wait(deaths, return_when=asyncio.FIRST_COMPLETED)
        return next(death.result() for death in deaths if death.done())
    finally:
        for death in deaths:
            death.cancel()


async def _follow(chosen: DecoderSettings, pool: EncoderPool, lookup: Lookup) -> None:
    """Keep the pool in step with the DNS name of the encoders, if the settings give a name."""
    if chosen.encoder_name:
        await Resolver(chosen.encoder_name, chosen.resolve_s, pool.update, lookup).run()


async def _load(steps: Sequence[Step]) -> None:
    """Start the tiers, the decoder's own model last: its KV cache takes the memory that others leave."""
    for step in steps:
        await step.tier.start()
    await measure(steps)
