"""UsageService: converts protobuf to plain values and back, and limits callers to their tenant.

Responses are built on a thread: a page of a thousand records takes longer than a token may be late.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc

from decoder_svc.ledger.ledger import Ledger
from fovea.contract.errors import InvalidArgument, LedgerDisabled, TenantNotAllowed
from fovea.contract.usage import (
    UsageFilter,
    anomaly_to_proto,
    dimension_from_proto,
    filter_from_proto,
    record_to_proto,
    summary_to_proto,
)
from fovea.decoder.v1 import usage_pb2, usage_pb2_grpc
from fovea.server.identity import Role, current_identity


class UsageService(usage_pb2_grpc.UsageServiceServicer):
    """The RPCs of `fovea.decoder.v1.UsageService` over a ledger; None if this server keeps no ledger."""

    def __init__(self, ledger: Ledger | None) -> None:
        self._kept = ledger

    @property
    def _ledger(self) -> Ledger:
        if self._kept is None:
            raise LedgerDisabled
        return self._kept

    async def SummarizeUsage(
        self, request: usage_pb2.SummarizeUsageRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.SummarizeUsageResponse:
        chosen, by = _allowed(request.filter), dimension_from_proto(request.by)
        summaries = await self._ledger.summarize(chosen, by)
        return await asyncio.to_thread(
            lambda: usage_pb2.SummarizeUsageResponse(summaries=map(summary_to_proto, summaries))
        )

    async def ListUsage(
        self, request: usage_pb2.ListUsageRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.ListUsageResponse:
        chosen = _allowed(request.filter)
        page = await self._ledger.page(chosen, request.page_size, request.page_token)
        return await asyncio.to_thread(
            lambda: usage_pb2.ListUsageResponse(
                records=map(record_to_proto, page.records), next_page_token=page.next_page
            )
        )

    async def GetUsage(
        self, request: usage_pb2.GetUsageRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.GetUsageResponse:
        if not request.request_id:
            raise InvalidArgument.of_field("request_id", "is empty")
        records = await self._ledger.of_request(request.request_id, _own_tenant())
        return await asyncio.to_thread(
            lambda: usage_pb2.GetUsageResponse(records=map(record_to_proto, records))
        )

    async def ListAnomalies(
        self, request: usage_pb2.ListAnomaliesRequest, context: grpc.aio.ServicerContext
    ) -> usage_pb2.ListAnomaliesResponse:
        tenant = _allowed(usage_pb2.UsageFilter(tenant=request.tenant)).tenant
        found = await self._ledger.found(tenant)
        return usage_pb2.ListAnomaliesResponse(anomalies=map(anomaly_to_proto, found))


def _own_tenant() -> str:
    """The tenant whose records the caller may read; empty for all."""
    identity = current_identity()
    return "" if identity.role is Role.OPERATOR else identity.tenant


def _allowed(asked: usage_pb2.UsageFilter) -> UsageFilter:
    """The filter within the records that the caller may read. Raises TenantNotAllowed, InvalidArgument."""
    chosen, own = filter_from_proto(asked), _own_tenant()
    if not own:
        return chosen
    if chosen.tenant not in ("", own):
        raise TenantNotAllowed(current_identity().role)
    return replace(chosen, tenant=own)
