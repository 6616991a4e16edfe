"""What both engines do with a call: admit it, hold it, pass its deltas to the reader, release it.

An engine adds how it computes a call. Independent of models.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import structlog

from decoder_svc.engine.delta_queue import DeltaQueue
from decoder_svc.engine.protocol import (
    Delta,
    EngineLimits,
    EngineProgress,
    EngineRequest,
    EngineTimings,
    RowStreams,
    Usage,
)
from fovea.contract.errors import EngineBusy, EngineUnavailable, InvalidArgument
from fovea.contract.rows import RowLayout

Failure = Callable[[], EngineUnavailable]
"""Makes an exception for each caller, because a raised exception collects tracebacks."""
log = structlog.get_logger()


@dataclass(eq=False)
class EngineCall:
    """A request that an engine holds, its row streams, and the deltas that wait for its reader."""

    request: EngineRequest
    rows: RowStreams
    deltas: DeltaQueue
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    computed: bool = False  # nothing is left to compute; the call only waits for its reader
    context: Context = field(default_factory=copy_context)  # of the caller: its identity and request id

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the caller's context until the call is released. Its failure fails the call."""
        task = asyncio.get_running_loop().create_task(work, context=self.context)
        task.add_done_callback(self._pass_failure)
        self.tasks.append(task)

    def end(self) -> None:
        """Note that nothing is left to compute."""
        self.computed = True
        self.request.on_computed()

    def check(self) -> None:
        """Raise what fails the call between two deltas."""

    def note_progress(self, progress: EngineProgress) -> None:
        """Write down what was computed for the call."""

    def _pass_failure(self, task: asyncio.Task[None]) -> None:
        """A cancelled task has no reader that waits for its failure."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.deltas.fail(error)


C = TypeVar("C", bound=EngineCall)


class BaseEngine(ABC, Generic[C]):
    """Holds the calls of an engine. Every method runs on the event loop that ran `start`."""

    def __init__(self, limits: EngineLimits, max_running: int) -> None:
        self.limits = limits
        self._max_running = max_running
        self._calls: dict[str, C] = {}
        self._failure: Failure | None = partial(EngineUnavailable, "the engine has not started")

    async def submit(
        self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None = None
    ) -> AsyncGenerator[Delta, None]:
        call: C | None = None
        try:
            call = await self._admit(request, rows, layout)
            yield Delta((), "", Usage(len(request.prompt.token_ids), 0, 0), EngineTimings())
            while True:
                delta = await call.deltas.next()
                call.check()
                yield delta
                if delta.finish_reason is not None:
                    return
        finally:
            if call is not None:
                call.note_progress(request.progress)
                await self._release(call)
            await _close(rows)

    @property
    def held(self) -> int:
        """Calls with something left to compute. No figure counts dummies."""
        return sum(not (call.computed or call.request.dummy) for call in self._calls.values())

    def abort(self, request_id: str) -> None:
        call = self._calls.get(request_id)
        if call is not None:
            self._abort(call)

    @abstractmethod
    async def _admit(self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None) -> C:
        """Check the request, add its call to `_calls` and start it. A cancellation must not leak the call, so
        nothing may be awaited after the call is added.
        """

    @abstractmethod
    def _abort(self, call: C) -> None:
        """End the call's deltas with the finish reason `abort`."""

    def _check_room(self, request_id: str) -> None:
        """Raises InvalidArgument if the id is in use, EngineBusy if too many calls wait."""
        if request_id in self._calls:
            raise InvalidArgument(f"request id {request_id} is in use", request_id=request_id)
        waiting = self.held - self._max_running
        if waiting >= self.limits.max_waiting:
            raise EngineBusy("max_waiting", self.limits.max_waiting, waiting + 1, retry_after_s=1.0)

    async def _release(self, call: C) -> None:
        """Give back what the call holds."""
        del self._calls[call.request.id]
        for task in call.tasks:
            task.cancel()
        await asyncio.gather(*call.tasks, return_exceptions=True)

    def _fail(self, failure: Failure) -> None:
        """Fail every current and every later call."""
        self._failure = failure
        for call in self._calls.values():
            call.deltas.fail(failure())


async def _close(rows: RowStreams) -> None:
    for result in await asyncio.gather(
        *(source.aclose() for source in rows if hasattr(source, "aclose")), return_exceptions=True
    ):
        if isinstance(result, Exception):
            log.warning("row_stream_not_closed", error=type(result).__name__)
