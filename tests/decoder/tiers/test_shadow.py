"""Shadow answers: off the caller's path, outside of its bill, and an alarm when they contradict too often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pytest
import structlog

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.shadow import MOST_RUNNING, NO_TENANT, Shadow, ShadowOutlets
from fovea.calibration.band import LEAST, ErrorBand
from fovea.contract.answer import Event, Finished, FinishReason, Started, Text
from fovea.contract.errors import EngineBusy
from fovea.contract.receipt import Receipt, Stages, Totals
from fovea.contract.sampling import Sampling
from fovea.contract.usage import Anomaly, AnomalyKind, Outcome, UsageRecord
from fovea.deadline import Deadline
from fovea.server.identity import TENANT
from tests.decoder.tiers.fakes import KnownImages, ask


@dataclass
class Following:
    """The tiers that follow. Answers once `go` is set."""

    text: str = "Red."
    reason: FinishReason = FinishReason.STOP
    error: Exception | None = None
    tenants: list[str] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(
        self, request: ChatRequest, encoders: Fleet, deadline: Deadline, used: RequestUsage
    ) -> AsyncGenerator[Event, None]:
        self.tenants.append(request.tenant)
        await self.go.wait()
        used.model = "large"
        used.receipt = Receipt((), Totals(text_tokens=10, output_tokens=1), Stages())
        if self.error is not None:
            raise self.error
        yield Started(request.id, "large", 10, 0)
        yield Text(self.text)
        yield Finished(self.reason, "", used.receipt)


@dataclass
class Outlets:
    held: list[str] = field(default_factory=list)
    records: list[UsageRecord] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)

    @contextmanager
    def hold(self, tenant: str) -> Iterator[Fleet]:
        self.held.append(tenant)
        yield KnownImages().fleet

    def shadow(self, share: float = 1.0, draw: float = 0.0, band: ErrorBand | None = None) -> Shadow:
        outlets = ShadowOutlets(self.hold, self.records.append, self.anomalies.append)
        return Shadow("small", share, band or ErrorBand(5, 100), outlets, lambda: draw)


async def compared(shadow: Shadow, following: Following, text: str = "red", **changes: object) -> None:
    following.go.set()
    shadow.consider(replace(ask(), tenant="acme", **changes), text, following)  # type: ignore[arg-type]
    await shadow.drained()


async def test_a_kept_answer_is_compared_after_normalization() -> None:
    outlets, following = Outlets(), Following()
    shadow = outlets.shadow()
    await compared(shadow, following)
    assert (shadow.compared, shadow.contradicted, shadow.tokens) == (1, 0, 11)
    await compared(shadow, following, "green")
    assert (shadow.compared, shadow.contradicted) == (2, 1)
    assert following.tenants == outlets.held == ["acme", "acme"]


async def test_its_record_is_no_tenants_and_names_the_request() -> None:
    outlets = Outlets()
    await compared(outlets.shadow(), Following())
    (record,) = outlets.records
    assert (record.tenant, record.method, record.outcome, record.model) == (
        NO_TENANT, "Shadow", Outcome.OK, "large",
    )  # fmt: skip
    assert record.parent_request_id == "r"
    assert not TENANT.fullmatch(NO_TENANT)


async def test_the_share_decides_and_sampled_answers_are_not_compared() -> None:
    outlets, following = Outlets(), Following()
    await compared(outlets.shadow(0.02, 0.02), following)
    await compared(outlets.shadow(0.0), following)
    await compared(outlets.shadow(), following, sampling=Sampling(temperature=1.0))
    assert following.tenants == []
    await compared(outlets.shadow(0.02, 0.019), following)
    assert len(following.tenants) == 1


async def test_no_more_run_at_once_than_allowed_and_nobody_waits_for_them() -> None:
    following = Following()
    shadow = Outlets().shadow()
    for _ in range(MOST_RUNNING + 1):
        shadow.consider(ask(), "red", following)
    assert (shadow.skipped, shadow.compared) == (1, 0)
    following.go.set()
    await shadow.drained()
    assert shadow.compared == MOST_RUNNING


@pytest.mark.parametrize(
    ("following", "failed"),
    [
        (Following(error=EngineBusy("max_waiting", 1, 2, 1.0)), 1),
        (Following(reason=FinishReason.LENGTH), 0),
    ],
)
async def test_an_answer_that_failed_or_was_cut_is_no_contradiction(
    following: Following, failed: int
) -> None:
    outlets = Outlets()
    shadow = outlets.shadow()
    following.go = asyncio.Event()
    await compared(shadow, following, "green")
    assert (shadow.compared, shadow.contradicted, shadow.failed) == (0, 0, failed)
    assert len(outlets.records) == 1


async def test_more_contradictions_than_calibrated_raise_an_alarm_once() -> None:
    outlets = Outlets()
    shadow = outlets.shadow(band=ErrorBand(5, 100))
    with structlog.testing.capture_logs() as logs:
        for _ in range(2 * LEAST):
            await compared(shadow, Following(), "green")
    (anomaly,) = outlets.anomalies
    assert (anomaly.kind, anomaly.tier, anomaly.tenant, anomaly.value) == (
        AnomalyKind.SILENT_ERRORS, "small", "", 1.0,
    )  # fmt: skip
    assert [line["tier"] for line in logs if line["event"] == "silent_errors"] == ["small"]
    figures = {figure.name: figure.read() for figure in shadow.figures}
    assert (figures["silent_error_alarm"], figures["silent_error_alarms"]) == (True, 1)


async def test_at_the_calibrated_rate_there_is_no_alarm() -> None:
    outlets = Outlets()
    shadow = outlets.shadow(band=ErrorBand(5, 100))
    for number in range(5 * LEAST):
        await compared(shadow, Following(), "green" if number % 20 == 0 else "red")
    assert outlets.anomalies == []


async def test_closing_ends_what_runs_and_records_it() -> None:
    outlets, following = Outlets(), Following()
    shadow = outlets.shadow()
    shadow.consider(ask(), "red", following)
    await asyncio.sleep(0)
    await shadow.close()
    assert (shadow.compared, [record.outcome for record in outlets.records]) == (0, [Outcome.FAILED])
