"""The thread that steps the model.

A step: obey commands, schedule, compute, sample, deliver. Everything it owns (sequences, blocks,
pages) is changed by this thread alone; others leave commands in the inbox, which are run between
two steps, and may ask `probe` and `load`. Knows no event loop: deltas leave through `publish`.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

import structlog
from torch import Tensor

from decoder_svc.engine.protocol import Delta, EngineLoad, FinishReason, Prompt
from decoder_svc.model.batch import Batch
from decoder_svc.native_engine.batch import make_batch
from decoder_svc.native_engine.request_state import RequestState
from decoder_svc.native_engine.scheduler import Chunk, Scheduler
from decoder_svc.sampling.detokenizer import Piece
from decoder_svc.sampling.sampler import sample

log = structlog.get_logger()
Publish = Callable[[list[tuple[RequestState, Delta]]], object]


class Model(Protocol):
    def forward(self, batch: Batch) -> Tensor: ...

    def copy(self, source: int, target: int, tokens: int) -> None: ...


class Worker:
    def __init__(self, model: Model, scheduler: Scheduler, eos_ids: frozenset[int]) -> None:
        self._model = model
        self._scheduler = scheduler
        self._eos_ids = eos_ids
        self._inbox: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self, publish: Publish, died: Callable[[Exception], object]) -> None:
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
        except Exception as error:
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
        for copy in self._scheduler.take_copies():
            self._model.copy(copy.source, copy.target, copy.tokens)
        if not chunks:
            return False
        logits = self._model.forward(make_batch(chunks, self._scheduler.blocks.block_size))
        sampled = [chunk.sequence for chunk in chunks if chunk.completes]
        tokens = sample(logits, [sequence.draws for sequence in sampled]) if sampled else []
        self._deliver(chunks, sampled, tokens)
        return True

    def _deliver(self, chunks: list[Chunk], sampled: list[RequestState], tokens: list[int]) -> None:
        self._scheduler.computed(chunks)
        now = time.perf_counter()
        deltas = [(s, self._advance(s, token, now)) for s, token in zip(sampled, tokens, strict=True)]
        for sequence, delta in deltas:
            if delta.finish_reason is not None:
                self._scheduler.remove(sequence)
        if deltas:
            self._publish(deltas)

    def _advance(self, sequence: RequestState, token: int, now: float) -> Delta:
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
