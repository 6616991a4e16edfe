"""Admission of requests on a clock that the tests turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from decoder_svc.admission import Admission, Places, Ticket, Work
from decoder_svc.engine.protocol import Delta, EngineTimings, Usage
from fovea.contract.errors import DeadlineExceeded, DeadlineUnreachable, EngineBusy
from fovea.deadline import Deadline
from fovea.server.fair_queue import QueueLimits

WORK = Work(prompt_tokens=10, answer_tokens=10)
PLACES = Places(max_running=1, max_preparing=16, queue=QueueLimits(calls=10))
NOW = 1e9  # past every real deadline check, which reads the process's clock


class Stage:
    """An admission, its clock, and requests that hold their places until they are told to end."""

    def __init__(self, places: Places = PLACES) -> None:
        self.now = NOW
        self.admission = Admission(places, lambda: self.now)
        self.begun: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    def ask(self, name: str, left_s: float | None = None, tenant: str = "t") -> asyncio.Task[None]:
        self.ends[name] = asyncio.Event()
        deadline = Deadline(None if left_s is None else self.now + left_s)
        return asyncio.create_task(self._hold(name, tenant, deadline))

    async def _hold(self, name: str, tenant: str, deadline: Deadline) -> None:
        async with self.admission.turn(tenant, WORK, deadline):
            self.begun.append(name)
            await self.ends[name].wait()

    async def learn(self, seconds: float) -> None:
        """Answer requests that take this long, half of it before their first token."""
        for _ in range(20):
            async with self.admission.turn("t", WORK, Deadline()) as ticket:
                self.now += seconds / 2
                ticket.progressed(_delta(0.0))
                self.now += seconds / 2
                ticket.progressed(_delta(seconds / 2, "stop"))


def _delta(decode_s: float, reason: str | None = None) -> Delta:
    return Delta((1,), "x", Usage(10, 0, 1), EngineTimings(decode_ms=1000 * decode_s), reason)  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def soon(task: asyncio.Task[None]) -> None:
    """Without the guard that refuses or drops it, the request would wait for ever."""
    async with asyncio.timeout(10):
        await task


@asynccontextmanager
async def held(stage: Stage) -> AsyncIterator[Stage]:
    """Every place is taken."""
    async with AsyncExitStack() as stack:
        for _ in range(stage.admission.places.most):
            await stack.enter_async_context(stage.admission.turn("holder", WORK, Deadline()))
        yield stage


async def test_the_queue_holds_its_limit_and_refuses_one_more() -> None:
    async with held(Stage()) as stage:
        waiting = [stage.ask(str(n)) for n in range(10 - stage.admission.outside)]
        await settled()
        with pytest.raises(EngineBusy) as refused:
            await soon(stage.ask("more"))
        assert refused.value.metadata == {"field": "max_waiting", "limit": "10", "actual": "11"}
        assert refused.value.retry_after_s
        for end in stage.ends.values():
            end.set()
    await asyncio.gather(*waiting)


async def test_tokens_are_bounded_at_the_limit_and_not_below() -> None:
    queue = QueueLimits(calls=10, cost=2 * WORK.tokens)
    async with held(Stage(replace(PLACES, queue=queue))) as stage:
        waiting = [stage.ask(name) for name in "ab"]
        await settled()
        with pytest.raises(EngineBusy) as refused:
            await soon(stage.ask("c"))
        assert refused.value.metadata["field"] == "max_waiting_tokens"
        for task in waiting:
            task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_request_that_would_wait_too_long_is_refused_at_once() -> None:
    stage = Stage()
    await stage.learn(8.0)
    async with held(stage):
        with pytest.raises(EngineBusy) as refused:
            await soon(stage.ask("hurried", left_s=16))
        assert refused.value.metadata["field"] == "wait_s"
        assert refused.value.retry_after_s == pytest.approx(8.0, abs=0.5)
        patient = stage.ask("patient", left_s=100)
        await settled()
        assert not patient.done()
        patient.cancel()
    await asyncio.gather(patient, return_exceptions=True)


@pytest.mark.parametrize(("default_s", "waits"), [(100.0, True), (16.0, False)])
async def test_a_request_without_a_deadline_waits_no_longer_than_the_default(
    default_s: float, waits: bool
) -> None:
    stage = Stage(replace(PLACES, queue=replace(PLACES.queue, default_deadline_s=default_s)))
    await stage.learn(8.0)
    async with held(stage):
        without = stage.ask("without a deadline")
        await settled()
        assert without.done() is not waits
        without.cancel()
        (ended,) = await asyncio.gather(without, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError if waits else EngineBusy)


async def test_a_request_that_cannot_be_answered_in_time_leaves_the_queue_and_is_never_begun() -> None:
    stage = Stage()
    await stage.learn(8.0)
    async with held(stage):
        waits = stage.ask("waits", left_s=100)
        await settled()
        stage.now += 93
        stage.admission.free(Ticket(work=WORK, admission=stage.admission))  # any change looks at the queue
        with pytest.raises(DeadlineUnreachable) as late:
            await soon(waits)
        assert late.value.retry_after_s
    assert stage.begun == []


async def test_the_queue_wakes_up_by_itself_to_drop_a_late_request() -> None:
    """The process's clock: the deadline is a moment ahead, and nothing else happens."""
    admission = Admission(PLACES)
    async with AsyncExitStack() as stack:
        for _ in range(PLACES.most):
            await stack.enter_async_context(admission.turn("holder", WORK, Deadline()))
        with pytest.raises(DeadlineUnreachable):
            async with asyncio.timeout(30), admission.turn("t", WORK, Deadline.after(1.0)):
                pytest.fail("it has begun")


async def test_a_passed_deadline_is_not_admitted() -> None:
    with pytest.raises(DeadlineExceeded):
        async with Admission(PLACES).turn("t", WORK, Deadline.after(0.0)):
            pytest.fail("it has begun")


async def test_an_estimate_does_not_refuse_a_request_that_finds_a_free_place() -> None:
    """Estimates of a slow hour would otherwise refuse every request of the next, and never be corrected."""
    stage = Stage()
    await stage.learn(1000.0)
    asked = stage.ask("first", left_s=5)
    await settled()
    assert stage.begun == ["first"]
    stage.ends["first"].set()
    await asked


async def test_a_small_tenant_is_next_whatever_another_has_queued() -> None:
    async with held(Stage()) as stage:
        flood = [stage.ask(f"flood {n}", tenant="flood") for n in range(6)]
        await settled()
        small = stage.ask("small", tenant="small")
        await settled()
        for end in stage.ends.values():
            end.set()
    await asyncio.gather(*flood, small)
    assert "small" in stage.begun[:3]


@pytest.mark.parametrize("when", ["waiting", "begun"])
async def test_an_abandoned_request_gives_its_place_back(when: str) -> None:
    stage = Stage(replace(PLACES, max_preparing=1))
    first, second, third = (stage.ask(name) for name in ("first", "second", "third"))
    await settled()
    assert stage.begun == ["first"]
    gone = {"waiting": second, "begun": first}[when]
    gone.cancel()
    stage.ends["first"].set()
    await asyncio.gather(gone, return_exceptions=True)
    await settled()
    assert stage.begun[1] == {"waiting": "third", "begun": "second"}[when]
    for end in stage.ends.values():
        end.set()
    await asyncio.gather(first, second, third, return_exceptions=True)
    assert (stage.admission.passed, stage.admission.queued) == (0, 0)


async def test_at_most_max_preparing_requests_prepare_and_the_first_token_frees_a_place() -> None:
    stage = Stage(Places(max_running=8, max_preparing=2, queue=QueueLimits(calls=10)))
    async with AsyncExitStack() as stack:
        tickets = [
            await stack.enter_async_context(stage.admission.turn("t", WORK, Deadline())) for _ in range(2)
        ]
        third = stage.ask("third")
        await settled()
        assert stage.begun == []
        tickets[0].progressed(_delta(0.0))
        await settled()
        assert stage.begun == ["third"]
        stage.ends["third"].set()
    await third


async def test_a_tenant_prepares_at_most_as_many_requests_as_there_are_free_places() -> None:
    """Otherwise requests that prepare for minutes keep the requests of other tenants from being begun."""
    stage = Stage(Places(max_running=8, max_preparing=4, queue=QueueLimits(calls=20, several_tenants=True)))
    flood = [stage.ask(f"flood {number}", tenant="flood") for number in range(4)]
    await settled()
    assert stage.begun == ["flood 0", "flood 1"]
    others = [stage.ask(name, tenant=name) for name in ("acme", "other")]
    await settled()
    assert stage.begun[2:] == ["acme", "other"]
    stage.ends["acme"].set()
    await settled()
    assert len(stage.begun) == 4, "one place is left to yet another tenant"
    stage.ends["flood 0"].set()
    await settled()
    assert stage.begun[4:] == ["flood 2"]
    for end in stage.ends.values():
        end.set()
    await asyncio.gather(*flood, *others)


async def test_a_tenant_alone_has_every_preparing_place_where_there_are_no_tokens() -> None:
    stage = Stage(Places(max_running=8, max_preparing=4, queue=QueueLimits(calls=20)))
    flood = [stage.ask(f"flood {number}", tenant="flood") for number in range(5)]
    await settled()
    assert len(stage.begun) == 4
    for end in stage.ends.values():
        end.set()
    await asyncio.gather(*flood)


async def test_a_computed_answer_that_is_not_read_holds_no_place() -> None:
    stage = Stage(Places(max_running=1, max_preparing=1, queue=QueueLimits(calls=10)))
    async with stage.admission.turn("t", WORK, Deadline()) as unread:
        waits = stage.ask("waits")
        await settled()
        assert stage.begun == []
        unread.free()
        await settled()
        assert stage.begun == ["waits"]
        stage.ends["waits"].set()
    await waits


@pytest.mark.parametrize("end", ["answered", "cut short"])
async def test_estimates_follow_what_requests_took(end: str) -> None:
    """A request that was cut short took at least that long, so a slow engine is noticed without an answer."""
    stage = Stage()
    await stage.learn(1.0)
    seconds: Callable[[], float] = lambda: stage.admission.rates.seconds(WORK)  # noqa: E731
    assert seconds() == pytest.approx(1.0, rel=0.05)
    if end == "answered":
        await stage.learn(4.0)
    else:
        for _ in range(20):
            async with stage.admission.turn("t", WORK, Deadline()):
                stage.now += 4.0
    assert seconds() > 2.0
