"""The thread that steps the model.

A step: obey commands, schedule, compute, sample, deliver. Everything it owns (states, blocks,
pages) is changed by this thread alone; others leave commands in the inbox, which are run between
two steps, and may ask `probe` and `load`. Knows no event loop: results leave through `publish`.

What fails for one request ends that request: a step that cannot be computed is computed a request at a
time, values that are not finite are told by the tokens that they are of, tokens are drawn and turned into
text one request after another. The thread dies only where not even a single token can be computed, or its
own books are wrong.
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
from numpy.typing import NDArray
from torch import Tensor

from decoder_svc.engine.protocol import Delta, EngineLoad, FinishReason, Prompt
from decoder_svc.model.batch import Output
from decoder_svc.model.runner import ModelRunner
from decoder_svc.native_engine.batch import make_batch, trial_batch
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
class Computed:
    """Chunks that were computed together, the logits after those that complete, and which came out finite."""

    chunks: list[StepChunk]
    logits: Tensor
    finite: NDArray[np.bool_]

    @classmethod
    def of(cls, chunks: list[StepChunk], output: Output) -> Computed:
        starts = np.cumsum([0, *(chunk.tokens for chunk in chunks[:-1])])
        return cls(chunks, output.logits, np.logical_and.reduceat(output.finite.cpu().numpy(), starts))

    def without_spoiled(self) -> Computed:
        if self.finite.all():
            return self
        chunks = [chunk for chunk, fine in zip(self.chunks, self.finite, strict=True) if fine]
        completing = [fine for chunk, fine in zip(self.chunks, self.finite, strict=True) if chunk.completes]
        return Computed(chunks, self.logits[np.flatnonzero(completing)], self.finite[self.finite])


class Worker:
    def __init__(self, runner: ModelRunner, scheduler: Scheduler, dtype: RowDtype) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._dtype = dtype
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self, publish: Publish, died: Callable[[BaseException], object]) -> None:
        self._publish = publish
        self._died = died
        self._thread.start()

    def stop(self) -> None:
        """Ends after the step that is running, and waits for that."""
        self._inbox.put(self._stop)
        self._thread.join()

    def add(self, state: RequestState) -> None:
        self._inbox.put(partial(self._scheduler.add, state))

    def remove(self, state: RequestState) -> None:
        """Free whatever the state still holds; harmless if it has ended."""
        self._inbox.put(partial(self._scheduler.remove, state))

    def abort(self, state: RequestState) -> None:
        self._inbox.put(partial(self._abort, state))

    def wake(self) -> None:
        """Something that the scheduler looks at has changed: rows have arrived."""
        self._inbox.put(lambda: None)

    def probe(self, prompt: Prompt) -> int:
        """Leading tokens that are in the cache, as of now, from any thread."""
        return self._scheduler.probe(prompt)

    def load(self) -> EngineLoad:
        """As of now, from any thread: single numbers, each right for itself."""
        s = self._scheduler
        return EngineLoad(len(s.running), len(s.waiting), s.blocks.used, s.blocks.total, s.preemptions)

    def _run(self) -> None:
        try:
            busy = False
            while not self._stopping:
                self._obey(wait=not busy)
                busy = self._step()
        except BaseException as error:  # whatever ends this thread, nobody may wait for it
            log.exception("engine_died")
            self._died(error)

    def _obey(self, wait: bool) -> None:
        """Run the commands that are there; with nothing to compute, sleep until there is one."""
        if wait:
            self._inbox.get()()
        while not self._inbox.empty():
            self._inbox.get()()

    def _step(self) -> bool:
        chunks = self._scheduler.schedule(time.perf_counter())
        lost = self._copy()
        chunks = [chunk for chunk in chunks if chunk.state not in lost]
        if not chunks:
            return bool(lost)
        for computed in self._compute(chunks):
            self._deliver(computed)
        return True

    def _copy(self) -> set[RequestState]:
        """Do what prefixes left to be copied. Returns the states that could not be served so."""
        lost = set()
        for copy in self._scheduler.take_copies():
            try:
                self._runner.copy(copy.source, copy.target, copy.tokens)
            except Exception as error:
                log.warning("copy_failed", exc_info=True)
                lost.add(copy.state)
                self._fail(copy.state, failure_of(error, copy.state))
        return lost

    def _compute(self, chunks: list[StepChunk]) -> Iterator[Computed]:
        """The chunks together; where that fails each alone, which writes the same keys and values again. Each
        is to be read before the next.
        """
        together = self._try(chunks)
        if isinstance(together, Computed):
            yield together
            return
        failed = [(chunks[0].state, together)] if len(chunks) == 1 else []
        for chunk in chunks if len(chunks) > 1 else ():
            alone = self._try([chunk])
            if isinstance(alone, Computed):
                yield alone
            else:
                failed.append((chunk.state, alone))
        if len(failed) == len(chunks):  # was it the requests, or is it the engine? Then this raises too
            blocks = self._scheduler.blocks
            self._runner.forward(trial_batch(blocks.block_size, blocks.spare))
        for state, failure in failed:
            self._fail(state, failure)

    def _try(self, chunks: list[StepChunk]) -> Computed | FoveaError:
        """What they computed, or what the first of them is told if it was alone."""
        blocks = self._scheduler.blocks
        try:
            batch = make_batch(chunks, blocks.block_size, blocks.spare)
            return Computed.of(chunks, self._runner.forward(batch))
        except Exception as error:
            log.warning("step_failed", requests=len(chunks), exc_info=True)
            failure = failure_of(error, chunks[0].state)
        free_memory()  # not within the handler: until its end the error holds the tensors of the step
        return failure

    def _deliver(self, computed: Computed) -> None:
        for chunk, fine in zip(computed.chunks, computed.finite, strict=True):
            if not fine:
                state = chunk.state
                self._fail(state, AnswerNotFinite(self._dtype.value, state.output_tokens))
        computed = computed.without_spoiled()
        self._scheduler.computed(computed.chunks)
        sampled = [chunk for chunk in computed.chunks if chunk.completes]
        if not sampled:
            return
        drawn = self._draw(sampled, computed.logits)
        now = time.perf_counter()
        deltas = [(s, delta) for s, token in drawn if (delta := self._advanced(s, token, now)) is not None]
        for state, delta in deltas:
            if delta.finish_reason is not None:
                self._scheduler.remove(state)
        if deltas:
            self._publish(deltas)

    def _draw(self, chunks: list[StepChunk], logits: Tensor) -> list[tuple[RequestState, int]]:
        """A token for each; where that fails for all together, each alone, from logits computed anew."""
        states = [chunk.state for chunk in chunks]
        try:
            return list(zip(states, sample(logits, [s.sampler for s in states]), strict=True))
        except BaseException as error:  # a panic in a library written in Rust is no Exception
            log.warning("draw_failed", requests=len(chunks), exc_info=True)
            if len(chunks) == 1:
                self._fail(states[0], failure_of(error, states[0]))
                return []
        return [pair for chunk in chunks for pair in self._draw_again(chunk)]

    def _draw_again(self, chunk: StepChunk) -> list[tuple[RequestState, int]]:
        computed = self._try([chunk])
        if isinstance(computed, Computed):
            return self._draw([chunk], computed.logits)
        self._fail(chunk.state, computed)
        return []

    def _advanced(self, state: RequestState, token: int, now: float) -> Delta | None:
        """None where the request fails over it."""
        try:
            return self._advance(state, token, now)
        except BaseException as error:  # as above
            log.warning("advance_failed", exc_info=True)
            self._fail(state, failure_of(error, state))
            return None

    def _fail(self, state: RequestState, failure: FoveaError) -> None:
        """End one request; what it has computed is shared with nobody."""
        self._scheduler.discard(state)
        self._publish([(state, failure)])

    def _advance(self, state: RequestState, token: int, now: float) -> Delta:
        state.sampler.saw(token)
        state.append(token)
        state.clock.mark_token(now)
        ended: FinishReason | None = "length" if state.is_full else None
        return state.delta_builder.add(token, state.usage(), state.sampler.logprobs, ended)

    def _abort(self, state: RequestState) -> None:
        if not self._scheduler.holds(state):
            return
        self._scheduler.remove(state)
        self._publish([(state, state.delta_builder.end(state.usage(), "abort"))])

    def _stop(self) -> None:
        self._stopping = True
