"""Makes the record of a request when its call ends.

The recorder is a layer of the server, between log and errors. There it sees the code that the caller gets,
also of calls that were refused before they reached the service. Metrics, log, traces and ledger take the same
record.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial

import structlog

from decoder_svc.ledger.quotas import Quotas
from decoder_svc.receipt import RequestUsage
from decoder_svc.stages import trace_stages
from fovea.contract.usage import Outcome, UsageRecord, microseconds
from fovea.server.call import Call
from fovea.server.identity import current_identity

SERVICE = "/fovea.decoder.v1.DecoderService/"
METHODS = frozenset({f"{SERVICE}Generate", f"{SERVICE}Complete"})
REFUSED = frozenset(
    {
        "INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "UNIMPLEMENTED",
        "FAILED_PRECONDITION", "OUT_OF_RANGE",
    }
)  # fmt: skip
OUTCOMES = {"CANCELLED": Outcome.CANCELLED, "DEADLINE_EXCEEDED": Outcome.DEADLINE}
Sink = Callable[[UsageRecord], object]
log = structlog.get_logger()
_used: ContextVar[RequestUsage | None] = ContextVar("request_usage", default=None)


def current_usage() -> RequestUsage:
    """What the call that runs in this task has used."""
    return _used.get() or RequestUsage()


class Recorder:
    """Passes the record of every request to its sinks. A sink must neither wait nor fail."""

    def __init__(self, model: str, sinks: Sequence[Sink], quotas: Quotas | None = None) -> None:
        self._model = model
        self._sinks = sinks
        self._quotas = quotas

    @asynccontextmanager
    async def layer(self, call: Call) -> AsyncIterator[None]:
        """Leave exactly one record of a call that asks for an answer."""
        if call.method not in METHODS:
            yield
            return
        id, used = uuid.uuid4().hex, RequestUsage(call.started)
        if self._quotas is not None:
            used.reserve = partial(self._quotas.reserve, id, current_identity().tenant)
        _used.set(used)
        try:
            yield
        finally:
            if call.code != "UNAUTHENTICATED":  # such a call has no tenant
                self._record(id, call, used)

    def _record(self, id: str, call: Call, used: RequestUsage) -> None:
        record = UsageRecord(
            id=id,
            request_id=call.request_id,
            tenant=current_identity().tenant,
            started=microseconds(time.time() - used.elapsed_ms() / 1000),
            method=call.method.removeprefix(SERVICE),
            outcome=_outcome(call.code, used.answered),
            model=used.model or self._model,
            receipt=used.receipt,
            reason=call.reason,
            parent_request_id=used.parent_request_id,
            charge_key=used.charge_key,
            token_gaps_s=tuple(used.token_gaps_s),
        )
        trace_stages(used, record)
        if used.prepared is not None or used.answered or used.given_up:
            log.info("receipt", outcome=record.outcome.value, **record.receipt.as_json())
        for sink in self._sinks:
            sink(record)


def _outcome(code: str, answered: str) -> Outcome:
    if code == "OK":
        return Outcome.LENGTH if answered == "length" else Outcome.OK
    return OUTCOMES.get(code) or (Outcome.REFUSED if code in REFUSED else Outcome.FAILED)
