"""The native engine as the service sees it: the event loop's side of the worker thread.

The engine checks a request, pulls its rows, passes its deltas on, and gives everything back however the
request ends. It never waits for a step. Independent of RPCs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from decoder_svc.engine.admission import check_request, check_sampling
from decoder_svc.engine.base import BaseEngine, EngineCall, Failure
from decoder_svc.engine.clock import RequestClock
from decoder_svc.engine.delta_queue import DeltaQueue
from decoder_svc.engine.protocol import (
    Delta,
    EngineLoad,
    EngineProgress,
    EngineRequest,
    ModelShape,
    Prompt,
    RowStreams,
    Wanted,
)
from decoder_svc.engine.row_buffer import pull, row_buffers
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.model.load import Progress
from decoder_svc.native_engine.build import LoadedEngine, NativeSettings, build
from decoder_svc.native_engine.request_state import RequestState
from decoder_svc.native_engine.worker import Result, Worker
from decoder_svc.sampling.deltas import DeltaBuilder
from decoder_svc.sampling.state import SamplerState
from fovea.contract.errors import EngineFailed, EngineUnavailable, FoveaError
from fovea.contract.rows import RowLayout

if TYPE_CHECKING:
    from decoder_svc.sampling.grammar import Grammar


@dataclass(eq=False, kw_only=True)
class NativeCall(EngineCall):
    state: RequestState
    worker: Worker
    pull_slots: asyncio.Semaphore  # bounds the streams that are pulled at once

    def check(self) -> None:
        self.state.sampler.check()

    def note_progress(self, progress: EngineProgress) -> None:
        """The last step may still run: its token is not counted."""
        state = self.state
        progress.prompt_tokens = min(state.reached, state.prompt_tokens)
        progress.cached_prompt_tokens = state.cached
        progress.output_tokens = state.output_tokens

    async def pull(self, number: int) -> None:
        async with self.pull_slots:
            await pull(self.rows[number], self.state.images[number], self.worker.wake)


class NativeEngine(BaseEngine[NativeCall]):
    """The `Engine` protocol in this process. Use it only from the event loop that ran `start`."""

    def __init__(
        self, settings: NativeSettings, progress: Progress | None = None, source: Checkpoint | None = None
    ) -> None:
        super().__init__(settings.limits, settings.max_running)
        self._settings = settings
        self._progress = progress
        self._source = source
        self._loaded: LoadedEngine | None = None
        self._death: asyncio.Future[FoveaError] | None = None

    async def start(self) -> None:
        """Load the model off the event loop, then begin to serve."""
        self._loop = asyncio.get_running_loop()
        self._death = self._loop.create_future()
        self._loaded = await asyncio.to_thread(build, self._settings, self._progress, self._source)
        post = self._loop.call_soon_threadsafe
        self._loaded.worker.start(
            publish=lambda deltas: post(self._deliver, deltas),
            died=lambda error: post(self._die, f"the engine died: {type(error).__name__}"),
        )
        self._failure = None

    async def died(self) -> FoveaError:
        if self._death is None:
            raise EngineUnavailable("the engine has not started")
        return await asyncio.shield(self._death)

    async def close(self) -> None:
        if self._loaded is not None:
            self._loaded.formats.close()
            await asyncio.to_thread(self._loaded.worker.stop)
        self._fail(partial(EngineUnavailable, "the engine is closed"))

    @property
    def healthy(self) -> bool:
        return self._failure is None

    @property
    def shape(self) -> ModelShape:
        return self._running().model.shape

    @property
    def description(self) -> str:
        return self._running().description

    def load(self) -> EngineLoad:
        """All zeros until the engine has started. Calls that the worker has not read yet are waiting; a call
        that has left may still be running.
        """
        if self._loaded is None:
            return EngineLoad(0, 0, 0, 0, 0)
        load = self._loaded.worker.load()
        return replace(load, waiting=max(0, self.held - load.running))

    async def probe(self, prompt: Prompt) -> int:
        """A hint: other requests may evict the blocks before the prompt is submitted."""
        return self._running().worker.probe(prompt)

    async def check_format(self, wanted: Wanted, tenant: str) -> None:
        await self._running().formats.check(wanted, tenant)

    def _running(self) -> LoadedEngine:
        if self._failure is not None:
            raise self._failure()
        if self._loaded is None:
            raise EngineUnavailable("the engine has not started")
        return self._loaded

    async def _admit(self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None) -> NativeCall:
        grammar = await self._compile(request)
        loaded = self._running()  # the engine may have died during the compilation
        check_request(request, rows, layout, self.limits, loaded.model.shape)
        self._check_room(request.id)
        state = self._state(request, layout, grammar, loaded)
        parallel = len(rows) if self._settings.overlap else 1
        call = self._calls[request.id] = NativeCall(
            request,
            rows,
            DeltaQueue(self._settings.delta_interval_s),
            state=state,
            worker=loaded.worker,
            pull_slots=asyncio.Semaphore(max(1, parallel)),
        )
        state.want_rows(state.hint)
        loaded.worker.add(state)
        return call

    def _state(
        self, request: EngineRequest, layout: RowLayout | None, grammar: Grammar | None, loaded: LoadedEngine
    ) -> RequestState:
        prompt, sampling = request.prompt, request.sampling
        clock = RequestClock(submitted=time.perf_counter())
        return RequestState(
            request,
            row_buffers(prompt, layout, self._settings.dtype),
            DeltaBuilder(sampling, loaded.vocabulary, loaded.checkpoint.eos_ids, clock),
            SamplerState(sampling, loaded.model.shape.vocab_size, prompt.token_ids, grammar),
            clock,
            fetch=lambda number: self._loop.call_soon_threadsafe(self._fetch, request.id, number),
            hint=loaded.worker.probe(prompt),
        )

    async def _compile(self, request: EngineRequest) -> Grammar | None:
        """The grammar that the answer is held to, compiled off the event loop."""
        if request.wanted is None:
            return None
        check_sampling(request.sampling, self.limits, self.shape.vocab_size)
        return await self._running().formats.compile(request.wanted, request.tenant)

    def _fetch(self, request_id: str, number: int) -> None:
        """Begin to pull the rows of an image. The rows of a cached prompt are never pulled."""
        call = self._calls.get(request_id)
        if call is not None:
            call.start(call.pull(number))

    def _abort(self, call: NativeCall) -> None:
        call.worker.abort(call.state)

    async def _release(self, call: NativeCall) -> None:
        """Slot and blocks are free before the next step."""
        call.worker.remove(call.state)
        await super()._release(call)

    def _deliver(self, results: Iterable[tuple[RequestState, Result]]) -> None:
        for state, result in results:
            call = self._calls.get(state.request.id)
            if call is None or call.state is not state:
                continue  # the caller has left
            if isinstance(result, Delta):
                call.deltas.put(result)
            else:
                call.deltas.fail(result)
            if not isinstance(result, Delta) or result.finish_reason is not None:
                call.end()

    def _die(self, reason: str) -> None:
        failure: Failure = partial(EngineFailed, reason)
        self._fail(failure)
        if self._death is not None and not self._death.done():
            self._death.set_result(failure())
