"""Failures of the ledger of requests."""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors.base import FoveaError, TemplatedError


class LedgerUnavailable(TemplatedError, code=StatusCode.UNAVAILABLE, reason="LEDGER_UNAVAILABLE"):
    """The database of the ledger does not answer."""

    text = "the ledger is not available: {why}"
    retry_after_s = 5.0
    why: str


class LedgerDisabled(FoveaError, code=StatusCode.FAILED_PRECONDITION, reason="LEDGER_DISABLED"):
    """The server keeps no ledger."""

    def __init__(self) -> None:
        super().__init__("this server keeps no ledger; its setting `ledger` is false")
