"""Failures of the ledger of requests."""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors.base import FoveaError, TemplatedError


class LedgerUnavailable(TemplatedError, code=StatusCode.UNAVAILABLE, reason="LEDGER_UNAVAILABLE"):
    """The database of the ledger does not answer."""

    text = "the ledger is not available: {why}"
    retry_after_s = 5.0
    why: str


class QuotaExceeded(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="QUOTA_EXCEEDED"):
    """The tenant may have spent its quota of the day once this request has ended.

    `actual` is what it has spent and reserved. The status carries a google.rpc.QuotaFailure.
    """

    text = (
        "tenant {tenant} has used {actual:.15g} of {limit:.15g} {unit} of this day, and this request may use"
        " {requested:.15g}; the quota is reset at {reset_time}"
    )
    tenant: str
    unit: str
    limit: float
    actual: float
    requested: float
    reset_time: str


class QuoteInvalid(TemplatedError, code=StatusCode.INVALID_ARGUMENT, reason="QUOTE_INVALID"):
    """A quote that this server does not accept for this request."""

    text = "the quote {why}"
    violation = "quote", "{why}"
    why: str


class QuoteExceeded(TemplatedError, code=StatusCode.FAILED_PRECONDITION, reason="QUOTE_EXCEEDED"):
    """The request may cost more than its quote says. Nothing was spent."""

    text = "the request may cost {actual:.15g} {unit}; its quote says at most {limit:.15g}"
    unit: str
    limit: float
    actual: float


class LedgerDisabled(FoveaError, code=StatusCode.FAILED_PRECONDITION, reason="LEDGER_DISABLED"):
    """The server keeps no ledger."""

    def __init__(self) -> None:
        super().__init__("this server keeps no ledger; its setting `ledger` is false")
