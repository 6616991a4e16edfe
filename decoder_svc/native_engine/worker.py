"""The thread that steps the model.

A step runs commands, schedules, computes, samples and delivers. Only this thread changes states, blocks and
pages. Other threads leave commands in the inbox, which run between two steps, and may call `probe` and
`load`. Results leave through `publish`. Independent of the event loop.

A failure ends the request that causes it. A step that cannot be computed is computed again request by
request. Values that are not finite are traced to their tokens. Sampling and detokenizing run request by
request. The thread dies only if not even a single token can be computed, or if its own bookkeeping is wrong.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from decoder_svc.engine.protocol import Delta, EngineLoad, FinishReason, Prompt
from decoder_svc.model.batch import Batch, Output, blank_batch
from decoder_svc.model.graphs import DecodeGraphs
from decoder_svc.model.text import TextDecoder
from decoder_svc.native_engine.batch import make_batch
from decoder_svc.native_engine.failures import failure_of, free_memory
from decoder_svc.native_engine.request_state import RequestState
from decoder_svc.native_engine.scheduler import Scheduler, StepChunk
from decoder_svc.sampling.sampler import sample
from fovea.contract.errors import AnswerNotFinite, FoveaError
from fovea.contract.rows import RowDtype

log = structlog.get_logger()
Result = Delta | FoveaError
Publish = Callable[[Iterable[tuple[RequestState, Result]]], object]


@dataclass(frozen=True, eq=False)
class StepOutput:
    """Chunks that were computed together, the logits of those that complete, and whether each is finite."""

    chunks: list[StepChunk]
    logits: Tensor
    finite: NDArray[np.bool_]

    @classmethod
    def of(cls, chunks: list[StepChunk], output: Output) -> StepOutput:
        starts = np.cumsum([0, *(chunk.tokens for chunk in chunks[:-1])])
        return cls(chunks, output.logits, np.logical_and.reduceat(output.finite.cpu().numpy(), starts))

    def only_finite(self) -> StepOutput:
        if self.finite.all():
            return self
        chunks = [chunk for chunk, fine in zip(self.chunks, self.finite, strict=True) if fine]
        completing = [fine for chunk, fine in zip(self.chunks, self.finite, strict=True) if chunk.completes]
        return StepOutput(chunks, self.logits[np.flatnonzero(completing)], self.finite[self.finite])


class Worker:
    def __init__(
        self, model: TextDecoder, graphs: DecodeGraphs | None, scheduler: Scheduler, dtype: RowDtype
    ) -> None:
        self._model = model
        self._graphs = graphs
        self._scheduler = scheduler
        self._dtype = dtype
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._steps = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self, publish: Publish, died: Callable[[BaseException], object]) -> None:
        self._publish = publish
        self._died = died
        self._thread.start()

    def stop(self) -> None:
        """Let the running step end, then wait for the thread."""
        self._inbox.put(self._stop)
        self._thread.join()

    def add(self, state: RequestState) -> None:
        self._inbox.put(partial(self._scheduler.add, state))

    def remove(self, state: RequestState) -> None:
        """Free what the state still holds. Harmless if the request has ended."""
        self._inbox.put(partial(self._scheduler.remove, state))

    def abort(self, state: RequestState) -> None:
        self._inbox.put(partial(self._abort, state))

    def wake(self) -> None:
        """Schedule again: rows have arrived."""
        self._inbox.put(lambda: None)

    def probe(self, prompt: Prompt) -> int:
        """How many leading tokens are cached now. Safe to call from any thread."""
        return self._scheduler.prefixes.probe(prompt)

    def load(self) -> EngineLoad:
        """Safe to call from any thread. Each number is right by itself; together they may be of two steps."""
        s = self._scheduler
        running = sum(not state.request.dummy for state in tuple(s.running))
        used, total, steps = s.blocks.used, s.blocks.total, self._steps + self._model.layers_computed
        return EngineLoad(running, len(s.waiting), used, total, s.preemptions, steps)

    def _run(self) -> None:
        try:
            busy = False
            while not self._stopping:
                self._run_commands(wait=not busy)
                busy = self._step()
        except BaseException as error:  # whatever ends this thread, no caller may wait for it
            log.exception("engine_died")
            self._died(error)

    def _run_commands(self, wait: bool) -> None:
        """Run the commands in the inbox. With nothing to compute, sleep until there is a command."""
        if wait:
            self._inbox.get()()
        while not self._inbox.empty():
            self._inbox.get()()

    def _step(self) -> bool:
        chunks = self._scheduler.schedule(time.perf_counter())
        failed = self._copy()
        chunks = [chunk for chunk in chunks if chunk.state not in failed]
        if not chunks:
            self._steps += self._scheduler.starved  # waiting for rows is no hang
            return bool(failed)
        for output in self._compute(chunks):
            self._deliver(output)
            self._steps += 1
        return True

    def _copy(self) -> set[RequestState]:
        """Copy blocks as prefix reuse requires. Returns the states whose copies failed."""
        failed = set()
        for copy in self._scheduler.take_copies():
            try:
                self._model.copy(copy.source, copy.target, copy.tokens)
            except Exception as error:
                log.warning("copy_failed", exc_info=True)
                failed.add(copy.state)
                self._fail(copy.state, failure_of(error, copy.state))
        return failed

    def _compute(self, chunks: list[StepChunk]) -> Iterator[StepOutput]:
        """The output of all chunks. If they fail together, the output of each alone, which writes the same
        keys and values again. Read each output before the next is computed.
        """
        together = self._try(chunks)
        if isinstance(together, StepOutput):
            yield together
            return
        alone = ((c, self._try([c])) for c in chunks) if len(chunks) > 1 else [(chunks[0], together)]
        failed: list[tuple[RequestState, FoveaError]] = []
        for chunk, result in alone:
            if isinstance(result, StepOutput):
                yield result
            else:
                failed.append((chunk.state, result))
        if len(failed) == len(chunks):  # a working engine computes the blank batch; a broken engine raises
            blocks = self._scheduler.blocks
            self._forward(blank_batch(1, 1, 1, blocks.spare, blocks.block_size, torch.device("cpu")))
        for state, failure in failed:
            self._fail(state, failure)

    def _try(self, chunks: list[StepChunk]) -> StepOutput | FoveaError:
        """The output, or the failure of the first chunk's request, which counts if it was alone."""
        blocks = self._scheduler.blocks
        try:
            batch = make_batch(chunks, blocks.block_size, blocks.spare)
            return StepOutput.of(chunks, self._forward(batch))
        except Exception as error:
            log.warning("step_failed", requests=len(chunks), exc_info=True)
            failure = failure_of(error, chunks[0].state)
        free_memory()  # outside of the handler, because there the error holds the tensors of the step
        return failure

    def _forward(self, batch: Batch) -> Output:
        """By a recorded graph if a graph fits, else call by call."""
        if self._graphs is not None and self._graphs.fits(batch):
            return self._graphs(batch)
        return self._model.forward(batch)

    def _deliver(self, output: StepOutput) -> None:
        for chunk, fine in zip(output.chunks, output.finite, strict=True):
            if not fine:
                self._fail(chunk.state, AnswerNotFinite(self._dtype.value, chunk.state.output_tokens))
        output = output.only_finite()
        self._scheduler.computed(output.chunks)
        completing = [chunk for chunk in output.chunks if chunk.completes]
        if not completing:
            return
        sampled = self._sample(completing, output.logits)
        now = time.perf_counter()
        deltas = [(s, delta) for s, token in sampled if (delta := self._advance(s, token, now)) is not None]
        for state, delta in deltas:
            if delta.finish_reason is not None:
                self._scheduler.remove(state)
        if deltas:
            self._publish(deltas)

    def _sample(self, chunks: list[StepChunk], logits: Tensor) -> list[tuple[RequestState, int]]:
        """A token for each chunk. If that fails for all together, each is sampled alone from new logits."""
        states = [chunk.state for chunk in chunks]
        try:
            return list(zip(states, sample(logits, [s.sampler for s in states]), strict=True))
        except BaseException as error:  # a panic in a library written in Rust is no Exception
            log.warning("draw_failed", requests=len(chunks), exc_info=True)
            if len(chunks) == 1:
                self._fail(states[0], failure_of(error, states[0]))
                return []
        return [pair for chunk in chunks for pair in self._sample_alone(chunk)]

    def _sample_alone(self, chunk: StepChunk) -> list[tuple[RequestState, int]]:
        output = self._try([chunk])
        if isinstance(output, StepOutput):
            return self._sample([chunk], output.logits)
        self._fail(chunk.state, output)
        return []

    def _advance(self, state: RequestState, token: int, now: float) -> Delta | None:
        """The delta of a sampled token, or None if the token fails the request."""
        try:
            state.sampler.saw(token)
            state.append(token)
            state.clock.mark_token(now)
            ended: FinishReason | None = "length" if state.is_full else None
            return state.delta_builder.add(token, state.usage(), state.sampler.report, ended)
        except BaseException as error:  # as in `_sample`
            log.warning("advance_failed", exc_info=True)
            self._fail(state, failure_of(error, state))
            return None

    def _fail(self, state: RequestState, failure: FoveaError) -> None:
        """End a request. What it computed is not shared."""
        self._scheduler.discard(state)
        self._publish([(state, failure)])

    def _abort(self, state: RequestState) -> None:
        if self._scheduler.holds(state):
            self._scheduler.remove(state)
            self._publish([(state, state.delta_builder.end(state.usage(), "abort"))])

    def _stop(self) -> None:
        self._stopping = True
