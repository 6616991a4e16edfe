"""The native engine as the service sees it: the event loop's side of the worker thread.

It checks a request, pulls its rows, passes its deltas on, and whatever way the request ends gives
everything back. It never waits for a step. Knows no RPC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from decoder_svc.engine.admission import check_context, check_prompt, check_rows, check_sampling
from decoder_svc.engine.protocol import (
    Capabilities,
    Delta,
    EngineLimits,
    EngineLoad,
    EngineRequest,
    EngineTimings,
    ModelShape,
    Prompt,
    ResponseFormat,
    RowStreams,
    Sampling,
)
from decoder_svc.engine.row_buffer import RowBuffer, pull
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.model.load import Progress
from decoder_svc.native_engine.build import NativeSettings, Parts, build
from decoder_svc.native_engine.delta_queue import DeltaQueue
from decoder_svc.native_engine.request_state import RequestClock, RequestState
from decoder_svc.native_engine.worker import Result
from decoder_svc.sampling.detokenizer import TextStream
from decoder_svc.sampling.formats import Formats
from decoder_svc.sampling.state import SamplerState
from fovea.contract.errors import EngineBusy, EngineFailed, EngineUnavailable, FoveaError, InvalidArgument
from fovea.contract.rows import RowLayout

if TYPE_CHECKING:
    from decoder_svc.sampling.grammar import Grammar

Failure = Callable[[], EngineUnavailable]  # each caller is told by an exception of its own
log = structlog.get_logger()


@dataclass(eq=False)
class NativeCall:
    """A request that the engine holds, and what came out of it so far."""

    sequence: RequestState
    rows: RowStreams
    turns: asyncio.Semaphore  # of the streams that may be pulled at once
    outbox: DeltaQueue
    pulls: list[asyncio.Task[None]] = field(default_factory=list)
    computed: bool = False  # to its end: only its reader is waited for
    context: Context = field(default_factory=copy_context)  # of the caller: its identity and request id

    async def pull(self, number: int, arrived: Callable[[], None]) -> None:
        async with self.turns:
            await pull(self.rows[number], self.sequence.images[number], arrived)


class NativeEngine:
    """The `Engine` protocol in this process. Use it only from the event loop that ran `start`."""

    capabilities = Capabilities(partial_rows=True, kept_positions=True)

    def __init__(
        self,
        settings: NativeSettings,
        progress: Progress | None = None,
        source: Checkpoint | None = None,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._source = source
        self._calls: dict[str, NativeCall] = {}
        self._parts: Parts | None = None
        self._failure: Failure | None = partial(EngineUnavailable, "the engine has not started")
        self._death: asyncio.Future[FoveaError] | None = None
        self._formats: Formats | None = None

    async def start(self) -> None:
        """Load the model, off the event loop, and begin to serve."""
        self._loop = asyncio.get_running_loop()
        self._death = self._loop.create_future()
        self._parts = await asyncio.to_thread(build, self._settings, self._progress, self._source)
        self._formats = Formats(self._parts.token_set(), self.limits)
        post = self._loop.call_soon_threadsafe
        self._parts.worker.start(
            publish=lambda deltas: post(self._deliver, deltas),
            died=lambda error: post(self._die, f"the engine died: {type(error).__name__}"),
        )
        self._failure = None

    async def died(self) -> FoveaError:
        if self._death is None:
            raise EngineUnavailable("the engine has not started")
        return await asyncio.shield(self._death)

    async def close(self) -> None:
        if self._formats is not None:
            self._formats.close()
        if self._parts is not None:
            await asyncio.to_thread(self._parts.worker.stop)
        self._fail(partial(EngineUnavailable, "the engine is closed"))

    @property
    def healthy(self) -> bool:
        return self._failure is None

    @property
    def limits(self) -> EngineLimits:
        return self._settings.limits

    @property
    def layout(self) -> ModelShape:
        return self._running().model.layout

    @property
    def description(self) -> str:
        return self._running().description

    def load(self) -> EngineLoad:
        """How full it is; all zeros until it has started."""
        return self._parts.worker.load() if self._parts else EngineLoad(0, 0, 0, 0, 0)

    async def probe(self, prompt: Prompt) -> int:
        """As of now: others may need the place before it is submitted."""
        return self._running().worker.probe(prompt)

    async def check_format(self, wanted: ResponseFormat) -> None:
        self._running()
        if self._formats is not None:
            await self._formats.check(wanted)

    async def submit(
        self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None = None
    ) -> AsyncGenerator[Delta, None]:
        call: NativeCall | None = None
        try:
            grammar = await self._compile(request.sampling)
            call = self._enter(request, rows, layout, grammar)
            yield Delta((), "", call.sequence.usage(), EngineTimings())
            while True:
                delta = await call.outbox.next()
                call.sequence.draws.check()
                yield delta
                if delta.finish_reason is not None:
                    return
        finally:
            if call is not None:
                await self._leave(call)
            await _close(rows)

    def abort(self, request_id: str) -> None:
        call = self._calls.get(request_id)
        if call is not None and self._parts is not None:
            self._parts.worker.abort(call.sequence)

    def _running(self) -> Parts:
        if self._failure is not None:
            raise self._failure()
        if self._parts is None:
            raise EngineUnavailable("the engine has not started")
        return self._parts

    async def _compile(self, sampling: Sampling) -> Grammar | None:
        """The request's format, made ready off the event loop."""
        if sampling.response_format is None or self._formats is None:
            return None
        check_sampling(sampling, self.limits)
        self._running()
        return await self._formats.compile(sampling.response_format)

    def _enter(
        self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None, grammar: Grammar | None
    ) -> NativeCall:
        parts = self._running()
        self._check(request, rows, layout)
        prompt, sampling = request.prompt, request.sampling
        dtype = self._settings.dtype
        images = tuple(RowBuffer(span, layout, dtype) for span in prompt.images if layout is not None)
        sequence = RequestState(
            request,
            images,
            TextStream(parts.vocabulary, sampling.stop),
            SamplerState(sampling, parts.model.config.vocab_size, prompt.token_ids, grammar),
            RequestClock(submitted=time.perf_counter()),
            fetch=lambda number: self._loop.call_soon_threadsafe(self._fetch, request.id, number),
            hint=parts.worker.probe(prompt),
        )
        at_once = len(rows) if self._settings.overlap else 1
        outbox = DeltaQueue(self._settings.delta_interval_s)
        call = self._calls[request.id] = NativeCall(
            sequence, rows, asyncio.Semaphore(max(1, at_once)), outbox
        )
        sequence.want_rows(sequence.hint)
        parts.worker.add(sequence)
        return call

    def _fetch(self, request_id: str, number: int) -> None:
        """Begin to pull the rows of an image; those of a prompt that is cached are never asked for."""
        call = self._calls.get(request_id)
        if call is not None and self._parts is not None:
            task = self._loop.create_task(call.pull(number, self._parts.worker.wake), context=call.context)
            task.add_done_callback(lambda done: _pass_failure(done, call))
            call.pulls.append(task)

    def _check(self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None) -> None:
        """All that can be refused is refused before anything is held."""
        parts, limits = self._running(), self.limits
        model = parts.model
        check_sampling(request.sampling, limits)
        check_context(len(request.prompt.token_ids), request.sampling, limits)
        check_prompt(request.prompt, parts.checkpoint.image_token_id, model.config.vocab_size)
        check_rows(request.prompt, rows, layout, model.layout)
        if request.id in self._calls:
            raise InvalidArgument(f"request id {request.id} is in use", request_id=request.id)
        waiting = sum(not call.computed for call in self._calls.values()) - self._settings.max_running
        if waiting >= limits.max_waiting:
            raise EngineBusy(limits.max_waiting, waiting, retry_after_s=1.0)

    async def _leave(self, call: NativeCall) -> None:
        """Free slot and blocks before the next step, and let go of the rows."""
        del self._calls[call.sequence.request.id]
        if self._parts is not None:
            self._parts.worker.remove(call.sequence)
        for task in call.pulls:
            task.cancel()
        await asyncio.gather(*call.pulls, return_exceptions=True)

    def _deliver(self, results: Iterable[tuple[RequestState, Result]]) -> None:
        for sequence, result in results:
            call = self._calls.get(sequence.request.id)
            if call is None or call.sequence is not sequence:
                continue  # its caller has gone
            if isinstance(result, Delta):
                call.computed = result.finish_reason is not None
                call.outbox.put(result)
            else:
                call.computed = True
                call.outbox.fail(result)

    def _die(self, reason: str) -> None:
        self._fail(partial(EngineFailed, reason))
        if self._death is not None and not self._death.done():
            self._death.set_result(EngineFailed(reason))

    def _fail(self, failure: Failure) -> None:
        """No request can go on: tell all of them."""
        self._failure = failure
        for call in self._calls.values():
            call.outbox.fail(failure())


def _pass_failure(pull_task: asyncio.Task[None], call: NativeCall) -> None:
    """The failure of a row stream is that of its request; one that is cancelled has lost its reader."""
    error = None if pull_task.cancelled() else pull_task.exception()
    if error is not None:
        call.outbox.fail(error)


async def _close(rows: RowStreams) -> None:
    for result in await asyncio.gather(
        *(source.aclose() for source in rows if hasattr(source, "aclose")), return_exceptions=True
    ):
        if isinstance(result, Exception):
            log.warning("row_stream_not_closed", error=type(result).__name__)
