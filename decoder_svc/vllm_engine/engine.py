"""vLLM as the service sees it: checks a request, gathers its rows, submits it, passes its deltas on.

vLLM takes an image whole, so nothing is submitted before the last row is here; and it believes every tensor,
so nothing is submitted unchecked. However a request ends, its rows, its place in vLLM and its streams are
given back. Knows no RPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import structlog

from decoder_svc.engine.admission import check_context, check_prompt, check_rows, check_sampling
from decoder_svc.engine.protocol import (
    Capabilities,
    Delta,
    EngineLimits,
    EngineLoad,
    EngineRequest,
    ModelShape,
    Prompt,
    ResponseFormat,
    RowStreams,
)
from decoder_svc.engine.row_buffer import RowBuffer, pull
from decoder_svc.sampling.detokenizer import TextStream, Vocabulary
from decoder_svc.sampling.formats import Formats
from decoder_svc.sampling.trie import TokenSet
from decoder_svc.vllm_engine.answer import AnswerStream
from decoder_svc.vllm_engine.literals import check_spelling
from decoder_svc.vllm_engine.load import LoadGauge
from decoder_svc.vllm_engine.settings import VllmSettings
from fovea.contract.errors import EngineBusy, EngineFailed, EngineUnavailable, FoveaError, InvalidArgument
from fovea.contract.rows import RowLayout

DEATH_S = 1.0  # between two looks whether vLLM lives
log = structlog.get_logger()


@dataclass(eq=False)
class VllmCall:
    """A request that the engine holds, and what came out of it so far."""

    request: EngineRequest
    answer: AnswerStream
    images: tuple[RowBuffer, ...]
    grammar: str  # what its format was tried as
    results: asyncio.Queue[Delta | BaseException] = field(default_factory=asyncio.Queue)
    work: asyncio.Task[None] | None = None

    @property
    def computed(self) -> bool:
        """To its end: only its reader is waited for."""
        return self.work is not None and self.work.done()


class VllmEngine:
    """The `Engine` protocol over vLLM. Use it only from the event loop that ran `start`."""

    def __init__(self, settings: VllmSettings) -> None:
        self._settings = settings
        self._calls: dict[str, VllmCall] = {}
        self._gauge = LoadGauge()
        self._llm: Any = None
        self._formats: Formats | None = None
        self._failure: str | None = "the engine has not started"

    async def start(self) -> None:
        """Load the model, off the event loop. Raises EngineNotInstalled where there is no vLLM."""
        from decoder_svc.model.checkpoint import Checkpoint
        from decoder_svc.vllm_engine.launch import launch

        self._checkpoint = Checkpoint(self._settings.checkpoint)
        self._vocabulary = Vocabulary(self._settings.checkpoint)
        vocab_size = self._checkpoint.config.text_config.vocab_size
        tokens = TokenSet(self._settings.checkpoint, vocab_size, self._checkpoint.eos_ids)
        self._formats = Formats(tokens, self.limits)
        self._llm = await asyncio.to_thread(launch, self._settings, self._checkpoint, self._gauge)
        self._gauge.set_blocks(self._llm.vllm_config.cache_config.num_gpu_blocks or 0)
        self._failure = None

    async def died(self) -> FoveaError:
        """vLLM tells only who waits for an answer, so it is asked."""
        while not self._running_or_dead().errored:  # noqa: ASYNC110  it has no event for this
            await asyncio.sleep(DEATH_S)
        return EngineFailed("vLLM is dead")

    async def close(self) -> None:
        for call in [*self._calls.values()]:
            call.results.put_nowait(EngineUnavailable("the engine is closed"))
        self._failure = "the engine is closed"
        if self._formats is not None:
            self._formats.close()
        llm, self._llm = self._llm, None
        if llm is not None:
            await asyncio.to_thread(llm.shutdown)

    @property
    def healthy(self) -> bool:
        return self._failure is None and not self._llm.errored

    @property
    def capabilities(self) -> Capabilities:
        chosen = (self._settings.quantization,) if self._settings.quantization != "none" else ()
        return Capabilities(partial_rows=False, kept_positions=True, quantisation=chosen)

    @property
    def limits(self) -> EngineLimits:
        return self._settings.limits

    @property
    def layout(self) -> ModelShape:
        self._running()
        return ModelShape(self._checkpoint.config.vision_config.out_hidden_size, self._checkpoint.levels)

    @property
    def description(self) -> str:
        """Version, device and what was chosen."""
        config = self._running().vllm_config
        s = self._settings
        mode = "eager" if config.model_config.enforce_eager else "compiled"
        parallel = f"tensor {s.tensor_parallel} x pipeline {s.pipeline_parallel}"
        quantised = f", {s.quantization}" if s.quantization != "none" else ""
        return f"vLLM on {config.device_config.device_type} ({mode}, {parallel}{quantised})"

    def load(self) -> EngineLoad:
        return self._gauge.load(len(self._calls))

    async def probe(self, prompt: Prompt) -> int:
        """Nothing for sure: vLLM looks a prefix up only when it schedules a request, in another process."""
        return 0

    async def check_format(self, wanted: ResponseFormat) -> None:
        """vLLM compiles it once more, in its own process: only what was tried may get there."""
        await self._source(wanted)

    async def submit(
        self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None = None
    ) -> AsyncGenerator[Delta, None]:
        call: VllmCall | None = None
        try:
            grammar = await self._source(request.sampling.response_format)
            call = self._enter(request, rows, layout, grammar)
            yield call.answer.begun()
            while True:
                result = await call.results.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
                if result.finish_reason is not None:
                    return
        finally:
            if call is not None:
                await self._leave(call)
            await _close(rows)

    def abort(self, request_id: str) -> None:
        call = self._calls.get(request_id)
        if call is not None and call.work is not None and not call.work.done():
            call.work.cancel()
            call.results.put_nowait(call.answer.ended("abort"))

    async def _source(self, wanted: ResponseFormat | None) -> str:
        """The format as it was tried; empty where there is none. Raises what `check_format` raises."""
        self._running()
        if wanted is None or self._formats is None:
            return ""
        check_spelling(wanted, self._vocabulary.added)
        return await self._formats.check(wanted)

    def _running(self) -> Any:
        llm = self._running_or_dead()
        if llm.errored:
            raise EngineFailed("vLLM is dead")
        return llm

    def _running_or_dead(self) -> Any:
        if self._llm is None or self._failure is not None:
            raise EngineUnavailable(self._failure or "the engine has not started")
        return self._llm

    def _enter(
        self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None, grammar: str
    ) -> VllmCall:
        self._check(request, rows, layout)
        text = TextStream(self._vocabulary, request.sampling.stop)
        dtype = self._settings.dtype
        images = tuple(RowBuffer(span, layout, dtype) for span in request.prompt.images if layout is not None)
        call = VllmCall(
            request, AnswerStream(request, text, self._checkpoint.eos_ids, dtype), images, grammar
        )
        self._calls[request.id] = call
        call.work = asyncio.create_task(self._work(call, rows))
        call.work.add_done_callback(lambda done: _pass_failure(done, call))
        return call

    def _check(self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None) -> None:
        """All that can be refused is refused before anything is held."""
        from decoder_svc.vllm_engine.submission import check_images

        self._running()
        config, limits = self._checkpoint.config, self.limits
        check_sampling(request.sampling, limits)
        check_context(len(request.prompt.token_ids), request.sampling, limits)
        check_prompt(request.prompt, self._checkpoint.image_token_id, config.text_config.vocab_size)
        check_rows(request.prompt, rows, layout, self.layout)
        check_images(request.prompt, config.vision_config.spatial_merge_size)
        if request.id in self._calls:
            raise InvalidArgument(f"request id {request.id} is in use", request_id=request.id)
        waiting = sum(not call.computed for call in self._calls.values()) - self._settings.max_running
        if waiting >= limits.max_waiting:
            raise EngineBusy(limits.max_waiting, waiting, retry_after_s=1.0)

    async def _work(self, call: VllmCall, rows: RowStreams) -> None:
        """One request from its rows to its last token."""
        from decoder_svc.vllm_engine.outcome import translated
        from decoder_svc.vllm_engine.sampling import sampling_params
        from decoder_svc.vllm_engine.submission import vllm_prompt

        await _gather_rows(rows, call.images)
        call.answer.times.mark_rows()
        with translated():
            prompt = vllm_prompt(call.request.prompt, call.images, self._settings.dtype)
            params = sampling_params(call.request.sampling, self._checkpoint.eos_ids, call.grammar)
            async with aclosing(self._running().generate(prompt, params, call.request.id)) as outputs:
                async for output in outputs:
                    for delta in call.answer.deltas(output):
                        call.results.put_nowait(delta)
                        if delta.finish_reason is not None:
                            return
        raise EngineUnavailable("vLLM ended the answer without a reason")

    async def _leave(self, call: VllmCall) -> None:
        """Let go of the rows and, unless it has ended, of the request in vLLM."""
        del self._calls[call.request.id]
        if call.work is not None:
            call.work.cancel()
            await asyncio.gather(call.work, return_exceptions=True)


async def _gather_rows(rows: RowStreams, images: tuple[RowBuffer, ...]) -> None:
    """All rows of all images, or the first failure, after the other streams were let go."""
    pulls = [
        asyncio.create_task(pull(source, image, lambda: None))
        for source, image in zip(rows, images, strict=True)
    ]
    try:
        await asyncio.gather(*pulls)
    finally:
        for task in pulls:
            task.cancel()
        await asyncio.gather(*pulls, return_exceptions=True)


def _pass_failure(work: asyncio.Task[None], call: VllmCall) -> None:
    """The failure of the work is that of the request. Who cancels it reads no further; where vLLM did, the
    caller must not wait for ever.
    """
    error = EngineUnavailable("vLLM gave the request up") if work.cancelled() else work.exception()
    if error is not None:
        call.results.put_nowait(error)


async def _close(rows: RowStreams) -> None:
    for result in await asyncio.gather(
        *(source.aclose() for source in rows if hasattr(source, "aclose")), return_exceptions=True
    ):
        if isinstance(result, Exception):
            log.warning("row_stream_not_closed", error=type(result).__name__)
