"""EncoderService: converts protobuf to plain values and back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import xxhash

from encoder_svc.core import PlacedRows, ServedRows
from encoder_svc.metrics import EncoderMetrics
from encoder_svc.reduction.errors import ReducerNotHere
from encoder_svc.state import FEATURES, ServiceState
from encoder_svc.tenant import Tenant
from encoder_svc.uploads import Intake
from fovea.contract import frames
from fovea.contract.cache import cache_stats_to_proto, deleted_to_proto
from fovea.contract.count import token_count_to_proto
from fovea.contract.frames import ChunkFrame
from fovea.contract.image import StoredImage, facts_to_proto, timestamp
from fovea.contract.plan import EncodePlan, plan_from_proto
from fovea.contract.rows import chunks, layout_to_proto, origin_to_proto
from fovea.contract.text import text_to_proto
from fovea.deadline import Deadline
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from fovea.planning.counting import count_tokens
from fovea.server.identity import Role, checked_tenant, current_identity
from fovea.server.tracing import current_span
from fovea.vision.v1 import rows_pb2

SERVICE = "fovea.encoder.v1.EncoderService"


def register(service: EncoderService, server: grpc.aio.Server) -> None:
    """Register the generated handlers, then replace Encode to write its chunk frames by hand."""
    encoder_pb2_grpc.add_EncoderServiceServicer_to_server(service, server)
    encode = grpc.unary_stream_rpc_method_handler(
        service.Encode,
        request_deserializer=encoder_pb2.EncodeRequest.FromString,
        response_serializer=_serialize,
    )
    server.add_registered_method_handlers(SERVICE, {"Encode": encode})


def _serialize(response: encoder_pb2.EncodeResponse | ChunkFrame) -> bytes:
    return frames.write(response) if isinstance(response, ChunkFrame) else response.SerializeToString()


class EncoderService(encoder_pb2_grpc.EncoderServiceServicer):
    """The RPCs of `fovea.encoder.v1.EncoderService` over a ServiceState; counts the rows it serves."""

    def __init__(self, state: ServiceState, metrics: EncoderMetrics) -> None:
        self._state = state
        self._metrics = metrics

    def _tenant(self) -> Tenant:
        """The tenant of the call that runs in this task."""
        return self._state.tenant(current_identity().tenant)

    def _visible(self) -> Tenant | None:
        """The tenant whose load the caller may see; None for all tenants."""
        return self._tenant() if current_identity().role is Role.USER else None

    async def PutImage(
        self, requests: AsyncIterator[encoder_pb2.PutImageRequest], context: grpc.aio.ServicerContext
    ) -> encoder_pb2.PutImageResponse:
        upload = Intake(self._state.uploads, self._tenant())
        async for request in requests:
            known = await upload.announce(request.header.digest, request.header.byte_size)
            if known is not None:
                return _put_response(known)
            await upload.add(request.data)
        stored = await upload.finish()
        self._state.note_upload(self._tenant(), stored)
        return _put_response(stored)

    async def DescribeImage(
        self, request: encoder_pb2.DescribeImageRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.DescribeImageResponse:
        stored = await self._state.uploads.describe(self._tenant(), request.digest)
        return encoder_pb2.DescribeImageResponse(
            facts=facts_to_proto(stored.facts), expire_time=timestamp(stored.expires)
        )

    async def Encode(  # type: ignore[override]  # its chunks are frames: see `register`
        self, request: encoder_pb2.EncodeRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[encoder_pb2.EncodeResponse | ChunkFrame]:
        served = await self._state.encoder.encode(
            self._tenant(), *_encode_arguments(request), _deadline(context)
        )
        self._metrics.served(served)
        _trace(served)
        yield encoder_pb2.EncodeResponse(header=_header(served, self._state))
        for first, data in chunks(served.rows.data, served.rows.layout):
            count = len(data) // served.rows.layout.row_bytes
            yield ChunkFrame(first, count, data, xxhash.xxh3_64_intdigest(data))
        yield encoder_pb2.EncodeResponse(summary=_summary(served))

    async def PlaceRows(
        self, request: encoder_pb2.PlaceRowsRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.PlaceRowsResponse:
        encoder = self._state.encoder
        job = await encoder.jobs.build(self._tenant(), *_encode_arguments(request.encode), _deadline(context))
        placed = await encoder.place(job, request.stored_only)
        self._metrics.placed(placed)
        _trace(placed)
        return encoder_pb2.PlaceRowsResponse(
            known=placed.known,
            header=_header(placed, self._state),
            timings=encoder_pb2.EncodeTimings(**vars(placed.timings)),
            order=placed.order.tolist() if request.order and placed.order is not None else None,
        )

    async def LeaseRows(
        self, request: encoder_pb2.LeaseRowsRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.LeaseRowsResponse:
        tenant = self._tenant()
        self._state.release(tenant, request.release_ids)
        leased = await self._state.lease(tenant, *_encode_arguments(request.encode), _deadline(context))
        self._metrics.served(leased.served)
        _trace(leased.served)
        return encoder_pb2.LeaseRowsResponse(
            header=_header(leased.served, self._state),
            summary=_summary(leased.served),
            arena=self._state.arena,
            offset_bytes=leased.offset,
            xxh3=leased.checks,
            lease_id=leased.lease,
            expire_time=timestamp(leased.expires),
        )

    async def ReleaseRows(
        self, request: encoder_pb2.ReleaseRowsRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.ReleaseRowsResponse:
        released = self._state.release(self._tenant(), request.lease_ids)
        return encoder_pb2.ReleaseRowsResponse(released=released)

    async def ReadText(
        self, request: encoder_pb2.ReadTextRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.ReadTextResponse:
        texts = self._state.texts
        read = texts.find if request.stored_only else texts.read
        return text_to_proto(await read(self._tenant(), request.digest))

    async def CountTokens(
        self, request: encoder_pb2.CountTokensRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.CountTokensResponse:
        max_pixels = request.max_pixels if request.HasField("max_pixels") else None
        layout = self._state.layout
        planned = self._state.description.geometry.plan(
            request.width, request.height, self._state.encoder.jobs.limit(max_pixels)
        )
        size = request.width, request.height
        count = count_tokens(size, planned, layout.row_bytes if layout else 0)
        return encoder_pb2.CountTokensResponse(count=token_count_to_proto(count))

    async def GetServerInfo(
        self, request: encoder_pb2.GetServerInfoRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.GetServerInfoResponse:
        return _info(self._state, self._visible())

    async def DeleteImage(
        self, request: encoder_pb2.DeleteImageRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.DeleteImageResponse:
        return deleted_to_proto(
            await self._state.delete(self._tenant(), request.digest), encoder_pb2.DeleteImageResponse
        )

    async def PurgeTenant(
        self, request: encoder_pb2.PurgeTenantRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.PurgeTenantResponse:
        tenant = self._state.tenant(checked_tenant(request.tenant))
        return deleted_to_proto(await self._state.purge(tenant), encoder_pb2.PurgeTenantResponse)

    async def GetCacheStats(
        self, request: encoder_pb2.GetCacheStatsRequest, context: grpc.aio.ServicerContext
    ) -> encoder_pb2.GetCacheStatsResponse:
        return cache_stats_to_proto(await self._state.cache_stats())


def _encode_arguments(request: encoder_pb2.EncodeRequest) -> tuple[str, EncodePlan, str]:
    """Raises ReducerNotHere for a reducer of a later contract, which no plan can express."""
    reducer = request.plan.rows.reducer
    if reducer not in rows_pb2.Reducer.values():
        raise ReducerNotHere(str(reducer))
    return request.digest, plan_from_proto(request.plan), request.fingerprint


def _trace(served: ServedRows | PlacedRows) -> None:
    """Note on the span of the call where its rows came from, and how long each stage took."""
    if (span := current_span()) is not None:
        stages = {f"fovea.{name}": ms for name, ms in vars(served.timings).items() if ms}
        span.note({"fovea.source": served.origin.value, "fovea.rows": served.count, **stages})


def _deadline(context: grpc.aio.ServicerContext) -> Deadline:
    return Deadline.after(context.time_remaining())


def _put_response(stored: StoredImage) -> encoder_pb2.PutImageResponse:
    return encoder_pb2.PutImageResponse(
        facts=facts_to_proto(stored.facts),
        already_stored=stored.already,
        expire_time=timestamp(stored.expires),
    )


def _header(served: ServedRows | PlacedRows, state: ServiceState) -> encoder_pb2.EncodeHeader:
    """`count` is of the whole grid, whatever the selection; no `kept` means all of its rows."""
    job = served.job
    return encoder_pb2.EncodeHeader(
        layout=layout_to_proto(job.layout),
        count=token_count_to_proto(count_tokens(job.size, job.planned, job.layout.row_bytes)),
        rows=served.count,
        source=origin_to_proto(served.origin),
        fingerprint=state.fingerprint,
        encoder=state.description.name,
        joined=served.joined,
        kept=None if served.kept is None else served.kept.tolist(),
    )


def _summary(served: ServedRows) -> encoder_pb2.EncodeSummary:
    return encoder_pb2.EncodeSummary(
        rows=served.rows.count,
        row_bytes=served.rows.data.nbytes,
        rows_digest=served.rows.digest,
        timings=encoder_pb2.EncodeTimings(**vars(served.timings)),
    )


def _info(state: ServiceState, visible: Tenant | None) -> encoder_pb2.GetServerInfoResponse:
    description = state.description
    return encoder_pb2.GetServerInfoResponse(
        version=state.version,
        name=description.name,
        model=description.model,
        fingerprint=state.fingerprint,
        layout=layout_to_proto(state.layout) if state.layout else None,
        limits=encoder_pb2.EncoderLimits(**vars(description.limits)),
        load=encoder_pb2.EncoderLoad(**vars(state.load(visible))),
        features=FEATURES,
        state=encoder_pb2.ServingState.Value(f"SERVING_STATE_{state.serving_state}"),
        loading_progress=state.progress,
        device=description.device,
        dtype=description.dtype,
        arena=state.arena,
        text_reader=state.text_reader,
    )
