"""DecoderService: converts protobuf to plain values and back, and does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import grpc

from decoder_svc import convert
from decoder_svc.ledger.quote import QuoteSigner
from decoder_svc.ledger.recorder import current_usage
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.state import ServiceState
from fovea.contract.answer import (
    Finished,
    Started,
    Text,
    event_to_proto,
    finished_to_proto,
    whole_to_proto,
)
from fovea.contract.cache import deletion_to_proto
from fovea.contract.count import count_to_proto
from fovea.contract.image import facts_to_proto, timestamp
from fovea.contract.info import server_info_to_proto
from fovea.deadline import Deadline
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.hashing import LARGE_BYTES
from fovea.server.call import current_request_id
from fovea.server.identity import Role, checked_tenant, current_identity


class DecoderService(decoder_pb2_grpc.DecoderServiceServicer):
    """The RPCs of `fovea.decoder.v1.DecoderService` over a ServiceState."""

    def __init__(self, state: ServiceState, quotes: QuoteSigner) -> None:
        self._state = state
        self._quotes = quotes

    async def _chat_request(
        self, request: decoder_pb2.GenerateRequest, sources: frozenset[str] = convert.SENT
    ) -> ChatRequest:
        """A large request is converted on a thread, because its images are hashed."""
        description = self._state.description
        converted = partial(
            convert.chat_request,
            request,
            current_request_id(),
            _tenant(),
            description.limits,
            description.budget,
            description.model.sampling_defaults,
            sources,
        )
        return converted() if request.ByteSize() < LARGE_BYTES else await asyncio.to_thread(converted)

    async def _used_by(self, request: decoder_pb2.GenerateRequest) -> RequestUsage:
        """The usage of the call that runs in this task. Raises QuoteInvalid or InvalidArgument."""
        used, tenant = current_usage(), _tenant()
        used.parent_request_id = convert.parent_request_id(request)
        if request.idempotency_key:
            used.charge_key = await _off_loop(request, convert.charge_key, tenant)
        if request.quote:
            subject = await _off_loop(request, convert.fingerprint, tenant)
            used.quote = self._quotes.verify(request.quote, subject)
        return used

    async def PutImage(
        self, requests: AsyncIterator[decoder_pb2.PutImageRequest], context: grpc.aio.ServicerContext
    ) -> decoder_pb2.PutImageResponse:
        first = await anext(aiter(requests), decoder_pb2.PutImageRequest())
        self._state.check_size(first.header.byte_size)

        async def chunks() -> AsyncIterator[bytes]:
            yield first.data
            async for request in requests:
                yield request.data

        stored = await self._state.put(_tenant(), first.header.digest, chunks(), _deadline(context))
        return decoder_pb2.PutImageResponse(
            facts=facts_to_proto(stored.facts),
            already_stored=stored.already,
            expire_time=timestamp(stored.expires),
            encoder=stored.encoder,
        )

    async def DescribeImage(
        self, request: decoder_pb2.DescribeImageRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.DescribeImageResponse:
        stored = await self._state.describe(_tenant(), request.digest, _deadline(context))
        return decoder_pb2.DescribeImageResponse(
            facts=facts_to_proto(stored.facts),
            expire_time=timestamp(stored.expires),
            encoder=stored.encoder,
        )

    async def Generate(
        self, request: decoder_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[decoder_pb2.GenerateResponse]:
        used = await self._used_by(request)
        chat_request = await self._chat_request(request)
        async with aclosing(self._state.answer(chat_request, _deadline(context), used)) as events:
            async for event in events:
                yield event_to_proto(event)

    async def Complete(
        self, request: decoder_pb2.CompleteRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.CompleteResponse:
        used = await self._used_by(request.request)
        chat_request = await self._chat_request(request.request)
        texts: list[Text] = []
        response = decoder_pb2.CompleteResponse(request_id=chat_request.id)
        async with aclosing(self._state.answer(chat_request, _deadline(context), used)) as events:
            async for event in events:
                if isinstance(event, Started):
                    response.model = event.model
                elif isinstance(event, Text):
                    texts.append(event)
                elif isinstance(event, Finished):
                    end = finished_to_proto(event)
                    response.finish_reason = end.finish_reason
                    response.matched_stop = end.matched_stop
                    response.receipt.CopyFrom(end.receipt)
        response.MergeFrom(whole_to_proto(texts))
        return response

    async def CountTokens(
        self, request: decoder_pb2.CountTokensRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.CountTokensResponse:
        chat_request = await self._chat_request(request.request, convert.COUNTED)
        count = await self._state.count(chat_request, _deadline(context))
        if count.quote is not None:
            subject = await _off_loop(request.request, convert.fingerprint, _tenant())
            count = replace(count, quote=self._quotes.sign(count.quote, subject))
        return count_to_proto(count)

    async def DeleteImage(
        self, request: decoder_pb2.DeleteImageRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.DeleteImageResponse:
        deletion = await self._state.delete(_tenant(), request.digest, _deadline(context))
        return deletion_to_proto(deletion, decoder_pb2.DeleteImageResponse)

    async def PurgeTenant(
        self, request: decoder_pb2.PurgeTenantRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.PurgeTenantResponse:
        deletion = await self._state.purge(checked_tenant(request.tenant), _deadline(context))
        return deletion_to_proto(deletion, decoder_pb2.PurgeTenantResponse)

    async def GetServerInfo(
        self, request: decoder_pb2.GetServerInfoRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.GetServerInfoResponse:
        info: decoder_pb2.GetServerInfoResponse = server_info_to_proto(
            await self._state.info(_visible()), decoder_pb2
        )
        return info


async def _off_loop(
    request: decoder_pb2.GenerateRequest,
    hashed: Callable[[decoder_pb2.GenerateRequest, str], str],
    tenant: str,
) -> str:
    """A digest of the request; that of a large request is computed on a thread."""
    if request.ByteSize() < LARGE_BYTES:
        return hashed(request, tenant)
    return await asyncio.to_thread(hashed, request, tenant)


def _tenant() -> str:
    """The tenant of the call that runs in this task."""
    return current_identity().tenant


def _visible() -> str | None:
    """The tenant whose load the caller may see; None for all tenants."""
    return _tenant() if current_identity().role is Role.USER else None


def _deadline(context: grpc.aio.ServicerContext) -> Deadline:
    return Deadline.after(context.time_remaining())
