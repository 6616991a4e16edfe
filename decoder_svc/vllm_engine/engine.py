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
    RowStreams,
)
from decoder_svc.engine.row_buffer import RowBuffer, pull
from decoder_svc.errors import EngineBusy, EngineUnavailable
from decoder_svc.sampling.detokenizer import TextStream, Vocabulary
from decoder_svc.vllm_engine.answer import AnswerStream
from decoder_svc.vllm_engine.load import LoadGauge
from decoder_svc.vllm_engine.settings import VllmSettings
from fovea.contract.errors import InvalidArgument
from fovea.contract.rows import RowLayout

log = structlog.get_logger()


@dataclass(eq=False)
class VllmCall:
    """A request that the engine holds, and what came out of it so far."""

    request: EngineRequest
    answer: AnswerStream
    images: tuple[RowBuffer, ...]
    results: asyncio.Queue[Delta | BaseException] = field(default_factory=asyncio.Queue)
    work: asyncio.Task[None] | None = None


class VllmEngine:
    """The `Engine` protocol over vLLM. Use it only from the event loop that ran `start`."""

    def __init__(self, settings: VllmSettings) -> None:
        self._settings = settings
        self._calls: dict[str, VllmCall] = {}
        self._gauge = LoadGauge()
        self._llm: Any = None
        self._failure: str | None = "the engine has not started"

    async def start(self) -> None:
        """Load the model, off the event loop. Raises EngineNotInstalled where there is no vLLM."""
        from decoder_svc.model.checkpoint import Checkpoint
        from decoder_svc.vllm_engine.launch import launch

        self._checkpoint = Checkpoint(self._settings.checkpoint)
        self._vocabulary = Vocabulary(self._settings.checkpoint)
        self._llm = await asyncio.to_thread(launch, self._settings, self._checkpoint, self._gauge)
        self._gauge.set_blocks(self._llm.vllm_config.cache_config.num_gpu_blocks or 0)
        self._failure = None

    async def close(self) -> None:
        for call in [*self._calls.values()]:
            call.results.put_nowait(EngineUnavailable("the engine is closed"))
        self._failure = "the engine is closed"
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

    async def submit(
        self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None = None
    ) -> AsyncGenerator[Delta, None]:
        call: VllmCall | None = None
        try:
            call = self._enter(request, rows, layout)
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

    def _running(self) -> Any:
        if self._llm is None or self._failure is not None:
            raise EngineUnavailable(self._failure or "the engine has not started")
        if self._llm.errored:
            raise EngineUnavailable("vLLM is dead")
        return self._llm

    def _enter(self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None) -> VllmCall:
        self._check(request, rows, layout)
        text = TextStream(self._vocabulary, request.sampling.stop)
        images = tuple(RowBuffer(span, layout) for span in request.prompt.images if layout is not None)
        call = VllmCall(request, AnswerStream(request, text, self._checkpoint.eos_ids), images)
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
        waiting = len(self._calls) - self._settings.max_running
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
            params = sampling_params(call.request.sampling, self._checkpoint.eos_ids)
            async with aclosing(self._running().generate(prompt, params, call.request.id)) as outputs:
                async for output in outputs:
                    for delta in call.answer.deltas(output):
                        call.results.put_nowait(delta)
                        if delta.finish_reason is not None:
                            return

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
    """The failure of the work is that of the request."""
    error = None if work.cancelled() else work.exception()
    if error is not None:
        call.results.put_nowait(error)


async def _close(rows: RowStreams) -> None:
    for result in await asyncio.gather(
        *(source.aclose() for source in rows if hasattr(source, "aclose")), return_exceptions=True
    ):
        if isinstance(result, Exception):
            log.warning("row_stream_not_closed", error=type(result).__name__)
