"""Admission of requests: each waits for its turn before anything of it is prepared or encoded.

A request is refused when it arrives if it would wait too long, and leaves the queue as soon as it can no
longer be answered in time. The wait is estimated from recent requests: what they took for their images, their
prompt and their answer. Past the queue, at most `max_preparing` requests prepare and about `max_running` are
answered. Where there are several tenants, a tenant prepares at most as many requests as there are free
places. A request that finds a free place and nobody before it begins whatever its estimate, so that wrong
estimates cannot last.
Independent of encoders and of how an engine computes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain

from decoder_svc.engine.protocol import Delta
from decoder_svc.prompt.messages import texts, tool_texts
from decoder_svc.request import ChatRequest
from decoder_svc.settings import DecoderLimits
from fovea.contract.errors import DeadlineUnreachable, EngineBusy
from fovea.deadline import Deadline
from fovea.geometry import Geometry
from fovea.rate import Rate
from fovea.server.fair_queue import FairQueue, QueueLimits, Waiter

CHARACTERS_PER_TOKEN = 4
SPARE = 16
"""A place more than `max_running` for every so many, so that no slot idles while a request prepares."""


@dataclass(frozen=True)
class Work:
    """What is known of a request's work before its images are: estimates, alike for all requests."""

    prompt_tokens: int
    answer_tokens: int
    images: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens

    @classmethod
    def of(cls, request: ChatRequest, geometry: Geometry, max_context: int) -> Work:
        """Images count as the largest that their budget allows. A longer prompt than `max_context` is refused
        later.
        """
        characters = sum(map(len, chain(texts(request.messages), tool_texts(request.tool_use.shown))))
        text_tokens = characters // CHARACTERS_PER_TOKEN + 1
        budget = request.budget
        tokens = geometry.within(budget.max_pixels or geometry.max_pixels) // geometry.cell**2
        visual_tokens = min(tokens * len(request.images), budget.max_visual_tokens or 2**31)
        prompt_tokens = min(text_tokens + visual_tokens, max_context)
        return cls(prompt_tokens, request.sampling.token_limit, len(request.images))


@dataclass(frozen=True)
class Places:
    """How many requests may be past the queue, and what may wait in it."""

    max_running: int
    max_preparing: int
    queue: QueueLimits

    @classmethod
    def of(cls, limits: DecoderLimits, several_tenants: bool) -> Places:
        queue = QueueLimits(
            limits.max_waiting,
            limits.max_waiting_tokens,
            limits.default_deadline_s,
            limits.max_wait_share,
            several_tenants,
        )
        return cls(limits.max_running, limits.max_preparing, queue)

    @property
    def most(self) -> int:
        return self.max_running + 1 + self.max_running // SPARE


class WorkRates:
    """How long recent requests took for each kind of work."""

    def __init__(self) -> None:
        self._images, self._prompt, self._answer = Rate(), Rate(), Rate()

    def seconds(self, work: Work) -> float:
        return (
            self._images.seconds(work.images)
            + self._prompt.seconds(work.prompt_tokens)
            + self._answer.seconds(work.answer_tokens)
        )

    def note(self, ticket: Ticket) -> None:
        """Add an answered request; until its first token, a request without images has only its prompt."""
        work, last = ticket.work, ticket.last
        if last is None or ticket.first_token is None:
            return
        prefill_s, decode_s = last.timings.prefill_ms / 1000, last.timings.decode_ms / 1000
        before_s = ticket.first_token - ticket.started
        if work.images:
            self._images.note(work.images, max(0.0, before_s - prefill_s))
        self._prompt.note(work.prompt_tokens, prefill_s if work.images else before_s)
        self._answer.note(work.answer_tokens, decode_s)

    def note_excess(self, ticket: Ticket, seconds: float) -> None:
        """Add a request that was cut short after `seconds` more than estimated: it needed at least those."""
        work = ticket.work
        rate, amount = (self._images, work.images) if work.images else (self._prompt, work.prompt_tokens)
        if ticket.first_token is not None:
            rate, amount = self._answer, work.answer_tokens
        rate.note(amount, rate.seconds(amount) + seconds)


@dataclass(eq=False, kw_only=True)
class Ticket(Waiter):
    """A request in the queue or past it. `turn` is done once it may begin."""

    work: Work
    admission: Admission
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    started: float = 0.0
    first_token: float | None = None
    last: Delta | None = None

    def progressed(self, delta: Delta) -> None:
        """Note a delta of the answer. With the first token, the request no longer prepares."""
        self.last = delta
        if delta.token_ids and self.first_token is None:
            self.admission.mark_answering(self)

    def free(self) -> None:
        """Give the place to the next request: nothing is left to compute, whatever the caller still reads."""
        self.admission.free(self)

    def retake(self) -> None:
        """Hold a place again, even beyond the limit: the request is computed once more."""
        self.admission.retake(self)


class Admission:
    """Confined to an event loop."""

    def __init__(self, places: Places, clock: Callable[[], float] = time.monotonic) -> None:
        self.rates = WorkRates()
        self.places = places
        self._clock = clock
        self._queue: FairQueue[Ticket] = FairQueue(places.queue)
        self._passed: set[Ticket] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def queued(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def passed(self) -> int:
        """Requests past the queue."""
        return len(self._passed)

    @asynccontextmanager
    async def turn(self, tenant: str, work: Work, deadline: Deadline) -> AsyncIterator[Ticket]:
        """The request's ticket once it may begin; leaving gives its place back.

        Raises EngineBusy at once, DeadlineUnreachable as soon as it applies.
        """
        deadline.timeout()
        ticket = self._enter(tenant, work, deadline)
        try:
            await ticket.turn
            yield ticket
        finally:
            self._leave(ticket)

    def _enter(self, tenant: str, work: Work, deadline: Deadline) -> Ticket:
        now = self._clock()
        at = now + self.places.queue.default_deadline_s if deadline.at is None else deadline.at
        ticket = Ticket(
            tenant=tenant,
            cost=work.tokens,
            seconds=self.rates.seconds(work),
            arrived=now,
            deadline=at,
            work=work,
            admission=self,
        )
        may_begin = self._may_begin()
        if may_begin(tenant) and self._queue.peek(may_begin) is None:
            self._pass(ticket)
            return ticket
        free_s, workers = self._free_s(now, tenant), max(1, len(self._passed))
        refusal = self._queue.refusal(ticket, free_s, workers, self.outside)
        if refusal is not None:
            raise EngineBusy(*refusal)
        self._queue.add(ticket)
        self._update()
        return ticket

    def _leave(self, ticket: Ticket) -> None:
        elapsed, answered = self._clock() - ticket.started, ticket.last and ticket.last.finish_reason
        if ticket in self._passed and not answered and elapsed > ticket.seconds:
            self.rates.note_excess(ticket, elapsed - ticket.seconds)
        if answered:
            self.rates.note(ticket)
        self._queue.remove(ticket)
        self.free(ticket)

    def mark_answering(self, ticket: Ticket) -> None:
        ticket.first_token = self._clock()
        self._update()

    def free(self, ticket: Ticket) -> None:
        self._passed.discard(ticket)
        self._update()

    def retake(self, ticket: Ticket) -> None:
        self._passed.add(ticket)

    @property
    def outside(self) -> int:
        """Requests past the queue beyond `max_running`: they wait in the engine."""
        return max(0, len(self._passed) - self.places.max_running)

    def _may_begin(self) -> Callable[[str], bool]:
        """Whether a tenant may begin another request now."""
        preparing = Counter(ticket.tenant for ticket in self._passed if ticket.first_token is None)
        free = self.places.max_preparing - preparing.total()
        if free <= 0 or len(self._passed) >= self.places.most:
            return lambda tenant: False
        shared = self.places.queue.several_tenants
        return lambda tenant: preparing[tenant] < free or not shared

    def _free_s(self, now: float, tenant: str) -> float:
        """Seconds until a place is free for the tenant, as estimated."""
        if self._may_begin()(tenant):
            return 0.0
        return max(0.0, min(ticket.started + ticket.seconds for ticket in self._passed) - now)

    def _pass(self, ticket: Ticket) -> None:
        ticket.started = self._clock()
        self._passed.add(ticket)
        if not ticket.turn.done():  # a caller that has just left cancelled it
            ticket.turn.set_result(None)

    def _update(self) -> None:
        """Drop requests that would be late, let requests begin, and wake up when the next is late."""
        now = self._clock()
        for ticket in self._queue.drop_late(now):
            self._drop(ticket, now)
        while (next_ticket := self._queue.take(self._may_begin())) is not None:
            self._pass(next_ticket)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        late = self._queue.next_late()
        if late is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, late - now), self._update)

    def _drop(self, ticket: Ticket, now: float) -> None:
        if not ticket.turn.done():
            retry_after_s = round(max(1.0, self._free_s(now, ticket.tenant)), 1)
            error = DeadlineUnreachable(ticket.seconds, ticket.deadline - now, retry_after_s)
            ticket.turn.set_exception(error)
