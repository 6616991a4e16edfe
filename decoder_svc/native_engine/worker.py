"""The thread that steps the model.

A step: obey commands, schedule, compute, sample, deliver. Everything it owns (sequences, blocks,
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
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray
from torch import Tensor

from decoder_svc.engine.protocol import Delta, EngineLoad, FinishReason, Prompt
from decoder_svc.model.batch import Batch, Output
from decoder_svc.native_engine.batch import make_batch, trial_batch
from decoder_svc.native_engine.failures import failure_of, free_memory
from decoder_svc.native_engine.request_state import RequestState
from decoder_svc.native_engine.scheduler import Chunk, Scheduler
from decoder_svc.sampling.detokenizer import Piece
from decoder_svc.sampling.sampler import sample
from fovea.contract.errors import AnswerNotFinite, FoveaError
from fovea.contract.rows import RowDtype

log = structlog.get_logger()
Result = Delta | FoveaError
Publish = Callable[[Iterable[tuple[RequestState, Result]]], object]


class Model(Protocol):
    def forward(self, batch: Batch) -> Output: ...

    def copy(self, source: int, target: int, tokens: int) -> None: ...


@dataclass(frozen=True, eq=False)
class Computed:
    """Chunks that were computed together, the logits after those that complete, and which came out finite."""

    chunks: list[Chunk]
    logits: Tensor
    finite: NDArray[np.bool_]

    @classmethod
    def of(cls, chunks: list[Chunk], output: Output) -> Computed:
        starts = np.cumsum([0, *(chunk.tokens for chunk in chunks[:-1])])
        return cls(chunks, output.logits, np.logical_and.reduceat(output.finite.cpu().numpy(), starts))

    def without_spoiled(self) -> Computed:
        if self.finite.all():
            return self
        chunks = [chunk for chunk, fine in zip(self.chunks, self.finite, strict=True) if fine]
        completing = [fine for chunk, fine in zip(self.chunks, self.finite, strict=True) if chunk.completes]
        return Computed(chunks, self.logits[np.flatnonzero(completing)], self.finite[self.finite])


class Worker:
    def __init__(self, model: Model, scheduler: Scheduler, eos_ids: frozenset[int], dtype: RowDtype) -> None:
        self._model = model
        self._scheduler = scheduler
        self._eos_ids = eos_ids
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

    def add(self, sequence: RequestState) -> None:
        self._inbox.put(partial(self._scheduler.add, sequence))

    def remove(self, sequence: RequestState) -> None:
        """Free whatever the sequence still holds; harmless if it has ended."""
        self._inbox.put(partial(self._scheduler.remove, sequence))

    def abort(self, sequence: RequestState) -> None:
        self._inbox.put(partial(self._abort, sequence))

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
        chunks = [chunk for chunk in chunks if chunk.sequence not in lost]
        if not chunks:
            return bool(lost)
        for computed in self._compute(chunks):
            self._deliver(computed)
        return True

    def _copy(self) -> set[RequestState]:
        """Do what prefixes left to be copied. Returns the sequences that could not be served so."""
        lost = set()
        for copy in self._scheduler.take_copies():
            try:
                self._model.copy(copy.source, copy.target, copy.tokens)
            except Exception as error:
                log.warning("copy_failed", exc_info=True)
                lost.add(copy.sequence)
                self._fail(copy.sequence, failure_of(error, copy.sequence))
        return lost

    def _compute(self, chunks: list[Chunk]) -> Iterator[Computed]:
        """The chunks together; where that fails each alone, which writes the same keys and values again. Each
        is to be read before the next.
        """
        together = self._try(chunks)
        if isinstance(together, Computed):
            yield together
            return
        failed = [(chunks[0].sequence, together)] if len(chunks) == 1 else []
        for chunk in chunks if len(chunks) > 1 else ():
            alone = self._try([chunk])
            if isinstance(alone, Computed):
                yield alone
            else:
                failed.append((chunk.sequence, alone))
        if len(failed) == len(chunks):  # was it the requests, or is it the engine? Then this raises too
            blocks = self._scheduler.blocks
            self._model.forward(trial_batch(blocks.block_size, blocks.spare))
        for sequence, failure in failed:
            self._fail(sequence, failure)

    def _try(self, chunks: list[Chunk]) -> Computed | FoveaError:
        """What they computed, or what the first of them is told if it was alone."""
        blocks = self._scheduler.blocks
        try:
            batch = make_batch(chunks, blocks.block_size, blocks.spare)
            return Computed.of(chunks, self._model.forward(batch))
        except Exception as error:
            log.warning("step_failed", requests=len(chunks), exc_info=True)
            failure = failure_of(error, chunks[0].sequence)
        free_memory()  # not within the handler: until its end the error holds the tensors of the step
        return failure

    def _deliver(self, computed: Computed) -> None:
        for chunk, fine in zip(computed.chunks, computed.finite, strict=True):
            if not fine:
                sequence = chunk.sequence
                self._fail(sequence, AnswerNotFinite(self._dtype.value, sequence.output_tokens))
        computed = computed.without_spoiled()
        self._scheduler.computed(computed.chunks)
        sampled = [chunk for chunk in computed.chunks if chunk.completes]
        if not sampled:
            return
        drawn = self._draw(sampled, computed.logits)
        now = time.perf_counter()
        deltas = [(s, delta) for s, token in drawn if (delta := self._advanced(s, token, now)) is not None]
        for sequence, delta in deltas:
            if delta.finish_reason is not None:
                self._scheduler.remove(sequence)
        if deltas:
            self._publish(deltas)

    def _draw(self, chunks: list[Chunk], logits: Tensor) -> list[tuple[RequestState, int]]:
        """A token for each; where that fails for all together, each alone, from logits computed anew."""
        sequences = [chunk.sequence for chunk in chunks]
        try:
            return list(zip(sequences, sample(logits, [s.draws for s in sequences]), strict=True))
        except BaseException as error:  # a panic in a library written in Rust is no Exception
            log.warning("draw_failed", requests=len(chunks), exc_info=True)
            if len(chunks) == 1:
                self._fail(sequences[0], failure_of(error, sequences[0]))
                return []
        return [pair for chunk in chunks for pair in self._draw_again(chunk)]

    def _draw_again(self, chunk: Chunk) -> list[tuple[RequestState, int]]:
        computed = self._try([chunk])
        if isinstance(computed, Computed):
            return self._draw([chunk], computed.logits)
        self._fail(chunk.sequence, computed)
        return []

    def _advanced(self, sequence: RequestState, token: int, now: float) -> Delta | None:
        """None where the request fails over it."""
        try:
            return self._advance(sequence, token, now)
        except BaseException as error:  # as above
            log.warning("advance_failed", exc_info=True)
            self._fail(sequence, failure_of(error, sequence))
            return None

    def _fail(self, sequence: RequestState, failure: FoveaError) -> None:
        """End one request; what it has computed is shared with nobody."""
        self._scheduler.discard(sequence)
        self._publish([(sequence, failure)])

    def _advance(self, sequence: RequestState, token: int, now: float) -> Delta:
        sequence.draws.saw(token)
        sequence.append(token)
        sequence.clock.mark_token(now)
        piece = sequence.text.push(token)
        reason = self._finish_reason(sequence, token, piece)
        if reason is not None and piece.stop is None:
            piece = Piece(piece.text + sequence.text.finish().text)
        return Delta(
            token_ids=(token,),
            text=piece.text,
            usage=sequence.usage(),
            timings=sequence.clock.timings(),
            finish_reason=reason,
            matched_stop=piece.stop,
            logprobs=sequence.draws.logprobs,
        )

    def _finish_reason(self, sequence: RequestState, token: int, piece: Piece) -> FinishReason | None:
        ends = token in self._eos_ids and not sequence.request.sampling.ignore_eos
        if piece.stop is not None or ends:
            return "stop"
        return "length" if sequence.is_full else None

    def _abort(self, sequence: RequestState) -> None:
        if not self._scheduler.holds(sequence):
            return
        self._scheduler.remove(sequence)
        end = Delta((), "", sequence.usage(), sequence.clock.timings(), finish_reason="abort")
        self._publish([(sequence, end)])

    def _stop(self) -> None:
        self._stopping = True
