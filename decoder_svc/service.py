"""DecoderService: protobuf into plain values and back, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from decoder_svc import convert
from decoder_svc.encoders.fleet import EncoderStatus
from decoder_svc.request import ChatRequest
from decoder_svc.state import DecoderStatus, ServiceState
from fovea.contract.answer import Finished, Text, event_to_proto, finished_to_proto
from fovea.contract.count import count_to_proto
from fovea.contract.image import facts_to_proto
from fovea.contract.rows import layout_to_proto
from fovea.deadline import Deadline
from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.server.call import current_request_id


class DecoderService(decoder_pb2_grpc.DecoderServiceServicer):
    """The RPCs of `fovea.decoder.v1.DecoderService` over a Front."""

    def __init__(self, front: ServiceState) -> None:
        self._front = front

    def _ask(
        self, request: decoder_pb2.GenerateRequest, sources: frozenset[str] = convert.SENT
    ) -> ChatRequest:
        card = self._front.card
        limits = card.limits
        defaults = convert.Defaults(limits.default_max_new_tokens, card.budget, limits.max_image_bytes)
        return convert.ask(request, current_request_id(), defaults, sources)

    async def PutImage(
        self, requests: AsyncIterator[decoder_pb2.PutImageRequest], context: grpc.aio.ServicerContext
    ) -> decoder_pb2.PutImageResponse:
        first = await anext(aiter(requests), decoder_pb2.PutImageRequest())
        self._front.check_size(first.header.byte_size)

        async def pieces() -> AsyncIterator[bytes]:
            yield first.data
            async for request in requests:
                yield request.data

        stored = await self._front.put(first.header.digest, pieces(), _deadline(context))
        return decoder_pb2.PutImageResponse(
            facts=facts_to_proto(stored.facts),
            already_stored=stored.already,
            expire_time=_moment(stored.expires),
            encoder=stored.encoder,
        )

    async def DescribeImage(
        self, request: decoder_pb2.DescribeImageRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.DescribeImageResponse:
        stored = await self._front.describe(request.digest, _deadline(context))
        return decoder_pb2.DescribeImageResponse(
            facts=facts_to_proto(stored.facts),
            expire_time=_moment(stored.expires),
            encoder=stored.encoder,
        )

    async def Generate(
        self, request: decoder_pb2.GenerateRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[decoder_pb2.GenerateResponse]:
        ask = self._ask(request)
        async with aclosing(self._front.answer(ask, _deadline(context))) as events:
            async for event in events:
                yield event_to_proto(event)

    async def Complete(
        self, request: decoder_pb2.CompleteRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.CompleteResponse:
        ask = self._ask(request.request)
        text: list[str] = []
        response = decoder_pb2.CompleteResponse(request_id=ask.id, model=self._front.card.model)
        async with aclosing(self._front.answer(ask, _deadline(context))) as events:
            async for event in events:
                if isinstance(event, Text):
                    text.append(event.text)
                    response.token_ids.extend(event.token_ids)
                    response.logprobs.extend(event.logprobs)
                elif isinstance(event, Finished):
                    end = finished_to_proto(event)
                    response.finish_reason = end.finish_reason
                    response.matched_stop = end.matched_stop
                    response.receipt.CopyFrom(end.receipt)
        response.text = "".join(text)
        return response

    async def CountTokens(
        self, request: decoder_pb2.CountTokensRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.CountTokensResponse:
        ask = self._ask(request.request, convert.TOLD)
        return count_to_proto(await self._front.count(ask, _deadline(context)))

    async def GetServerInfo(
        self, request: decoder_pb2.GetServerInfoRequest, context: grpc.aio.ServicerContext
    ) -> decoder_pb2.GetServerInfoResponse:
        return _info(await self._front.status())


def _moment(seconds: float) -> Timestamp:
    moment = Timestamp()
    moment.FromNanoseconds(int(seconds * 1e9))
    return moment


def _deadline(context: grpc.aio.ServicerContext) -> Deadline:
    return Deadline.after(context.time_remaining())


def _peer(peer: EncoderStatus) -> decoder_pb2.EncoderPeer:
    message = decoder_pb2.EncoderPeer(
        address=peer.address, reachable=peer.info is not None, compatible=peer.compatible
    )
    if peer.info is not None:
        message.name = peer.info.name
        message.fingerprint = peer.info.fingerprint
        message.waiting, message.running = peer.info.waiting, peer.info.running
        message.encodes = peer.info.encodes
    return message


def _info(status: DecoderStatus) -> decoder_pb2.GetServerInfoResponse:
    load = status.load
    return decoder_pb2.GetServerInfoResponse(
        version=status.version,
        model=status.card.model,
        fingerprint=status.card.fingerprint,
        layout=layout_to_proto(status.layout) if status.layout else None,
        limits=decoder_pb2.DecoderLimits(**vars(status.card.limits)),
        load=decoder_pb2.DecoderLoad(
            waiting=load.waiting,
            running=load.running,
            kv_blocks_used=load.kv_used_blocks,
            kv_blocks=load.kv_total_blocks,
        )
        if load
        else None,
        features=status.features,
        state=decoder_pb2.ServingState.Value(f"SERVING_STATE_{status.state}"),
        loading_progress=status.progress,
        engine=status.card.engine,
        attention=status.attention,
        dtype=status.card.dtype,
        encoders=[_peer(peer) for peer in status.encoders],
        kv_bytes_per_token=status.card.kv_bytes_per_token,
    )
