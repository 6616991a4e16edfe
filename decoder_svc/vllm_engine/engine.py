"""vLLM as the service sees it: checks a request, gathers its rows, submits it, passes its deltas on.

vLLM takes images whole, so a request is submitted after its last row has arrived. vLLM trusts every tensor,
so nothing is submitted unchecked. However a request ends, everything it held is given back. Independent of
RPCs.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from decoder_svc.engine.admission import check_request, check_sampling
from decoder_svc.engine.base import BaseEngine, EngineCall
from decoder_svc.engine.delta_queue import DeltaQueue
from decoder_svc.engine.protocol import (
    EngineLoad,
    EngineProgress,
    EngineRequest,
    ModelShape,
    Prompt,
    RowStreams,
    Wanted,
)
from decoder_svc.engine.row_buffer import RowBuffer, pull, row_buffers
from decoder_svc.sampling.detokenizer import Vocabulary
from decoder_svc.sampling.formats import Formats
from decoder_svc.sampling.trie import TokenSet
from decoder_svc.vllm_engine.answer import AnswerStream
from decoder_svc.vllm_engine.load import LoadGauge
from decoder_svc.vllm_engine.settings import VllmSettings
from fovea.contract.errors import EngineFailed, EngineUnavailable, FoveaError
from fovea.contract.rows import RowLayout

POLL_S = 1.0  # between two checks whether vLLM is alive


@dataclass(eq=False, kw_only=True)
class VllmCall(EngineCall):
    answer: AnswerStream
    images: tuple[RowBuffer, ...]
    grammar: str  # the source of its tried format

    def note_progress(self, progress: EngineProgress) -> None:
        self.answer.note_progress(progress)


class VllmEngine(BaseEngine[VllmCall]):
    """The `Engine` protocol over vLLM. Use it only from the event loop that ran `start`."""

    def __init__(self, settings: VllmSettings) -> None:
        super().__init__(settings.limits, settings.max_running)
        self._settings = settings
        self._gauge = LoadGauge()
        self._llm: Any = None
        self._death: asyncio.Task[FoveaError] | None = None
        self._formats: Formats | None = None

    async def start(self) -> None:
        """Load the model off the event loop. Raises EngineNotInstalled if vLLM is missing."""
        from decoder_svc.model.checkpoint import Checkpoint
        from decoder_svc.vllm_engine.launch import launch

        self._checkpoint = Checkpoint(self._settings.checkpoint)
        self._vocabulary = Vocabulary(self._settings.checkpoint)
        vocab_size = self._checkpoint.model_shape.vocab_size
        tokens = TokenSet(self._settings.checkpoint, vocab_size, self._checkpoint.eos_ids)
        self._formats = Formats(tokens, self.limits)
        self._llm = await asyncio.to_thread(launch, self._settings, self._checkpoint, tokens, self._gauge)
        if self._settings.pipeline_parallel > 1:
            await self._llm.collective_rpc("prepare_stage")
        self._gauge.blocks = self._llm.vllm_config.cache_config.num_gpu_blocks or 0
        self._failure = None
        self._death = asyncio.create_task(self._watch(self._llm))

    async def died(self) -> FoveaError:
        if self._death is None:
            raise EngineUnavailable("the engine has not started")
        return await asyncio.shield(self._death)

    async def _watch(self, llm: Any) -> FoveaError:
        """Polls, because vLLM does not report its death to every caller that waits."""
        while not llm.errored:  # noqa: ASYNC110  it has no event for this
            await asyncio.sleep(POLL_S)
        failure = partial(EngineFailed, "vLLM is dead")
        self._fail(failure)
        return failure()

    async def close(self) -> None:
        self._fail(partial(EngineUnavailable, "the engine is closed"))
        if self._death is not None:
            self._death.cancel()
        if self._formats is not None:
            self._formats.close()
        llm, self._llm = self._llm, None
        if llm is not None:
            await asyncio.to_thread(llm.shutdown)

    @property
    def healthy(self) -> bool:
        return self._failure is None and not self._llm.errored

    @property
    def shape(self) -> ModelShape:
        self._running()
        return self._checkpoint.model_shape

    @property
    def description(self) -> str:
        """Version, device and what was chosen."""
        config = self._running().vllm_config
        s = self._settings
        mode = "eager" if config.model_config.enforce_eager else "compiled"
        parallel = f"tensor {s.tensor_parallel} x pipeline {s.pipeline_parallel}"
        parallel += " on Ray" if s.distributed_backend == "ray" else ""
        quantised = f", {s.quantization}" if s.quantization != "none" else ""
        return f"vLLM on {config.device_config.device_type} ({mode}, {parallel}{quantised})"

    def load(self) -> EngineLoad:
        return self._gauge.load(self.held)

    async def probe(self, prompt: Prompt) -> int:
        """Always 0: vLLM looks a prefix up only when it schedules a request, in another process."""
        return 0

    async def check_format(self, wanted: Wanted, tenant: str) -> None:
        """Try the format, because vLLM compiles formats in its own process without our limits."""
        await self._source(wanted, tenant)

    async def _source(self, wanted: Wanted | None, tenant: str) -> str:
        """The source of the tried format, empty without a format. Raises what `check_format` raises."""
        self._running()
        if wanted is None or self._formats is None:
            return ""
        return await self._formats.check(wanted, tenant)

    def _running(self) -> Any:
        if self._failure is not None:
            raise self._failure()
        if self._llm.errored:
            raise EngineFailed("vLLM is dead")
        return self._llm

    async def _admit(self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None) -> VllmCall:
        from decoder_svc.vllm_engine.submission import check_images

        check_sampling(request.sampling, self.limits, self.shape.vocab_size)
        grammar = await self._source(request.wanted, request.tenant)
        check_request(request, rows, layout, self.limits, self.shape)
        check_images(request.prompt, self._checkpoint.architecture.vision_config.spatial_merge_size)
        self._check_room(request.id)
        dtype = self._settings.dtype
        call = self._calls[request.id] = VllmCall(
            request,
            rows,
            DeltaQueue(),
            answer=AnswerStream(request, self._vocabulary, self._checkpoint.eos_ids, dtype),
            images=row_buffers(request.prompt, layout, dtype),
            grammar=grammar,
        )
        call.start(self._work(call))
        return call

    async def _work(self, call: VllmCall) -> None:
        """Run a request from its rows to its last token. If vLLM cancels it, the reader gets a failure."""
        try:
            await self._generate(call)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise EngineUnavailable("vLLM gave the request up") from error
        finally:
            call.end()

    async def _generate(self, call: VllmCall) -> None:
        from decoder_svc.vllm_engine.outcome import translated
        from decoder_svc.vllm_engine.sampling import sampling_params
        from decoder_svc.vllm_engine.submission import vllm_prompt

        await _gather_rows(call.rows, call.images)
        call.answer.mark_rows()
        with translated():
            prompt = vllm_prompt(call.request.prompt, call.images, self._settings.dtype)
            request, eos_ids = call.request, self._checkpoint.eos_ids
            params = sampling_params(request.sampling, eos_ids, call.grammar)
            async with aclosing(self._running().generate(prompt, params, call.request.id)) as outputs:
                async for output in outputs:
                    for delta in call.answer.deltas(output):
                        call.deltas.put(delta)
                        if delta.finish_reason is not None:
                            return
        raise EngineUnavailable("vLLM ended the answer without a reason")

    def _abort(self, call: VllmCall) -> None:
        if not call.computed:
            for task in call.tasks:
                task.cancel()
            call.end()
            call.deltas.put(call.answer.end("abort"))


async def _gather_rows(rows: RowStreams, images: tuple[RowBuffer, ...]) -> None:
    """All rows of all images. Raises the first failure after the other streams have ended."""
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
