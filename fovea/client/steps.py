"""The clients' sequences of calls, written once for the blocking and the asyncio clients.

Each function is a generator: it yields calls, receives their replies, and returns a client value.
`fovea.client.connection` makes the calls. Nothing here waits or knows the transport. Where both services have
the same call, `api` is the module of the service's messages.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from fovea.client.affinity import key_of
from fovea.client.connection import Rpc, Steps, StreamRpc, UploadRpc
from fovea.client.messages import RequestDraft
from fovea.client.naming import asking, naming_image
from fovea.client.upload import SMALL_BYTES, FileUpload, Progress, unheard
from fovea.client.values import Placed
from fovea.contract.cache import (
    CacheStats,
    Deleted,
    Deletion,
    cache_stats_from_proto,
    deleted_from_proto,
    deletion_from_proto,
)
from fovea.contract.count import Count, TokenCount, count_from_proto, token_count_from_proto
from fovea.contract.errors import ImageNotStored, RowsMismatch
from fovea.contract.image import StoredImage, stored_from_proto
from fovea.contract.info import ServerInfo, server_info_from_proto
from fovea.contract.plan import EncodePlan, plan_to_proto
from fovea.contract.row_stream import check_kept, placement_from_proto
from fovea.contract.usage import (
    Anomaly,
    Dimension,
    UsageFilter,
    UsagePage,
    UsageRecord,
    UsageSummary,
    anomaly_from_proto,
    dimension_to_proto,
    filter_to_proto,
    record_from_proto,
    summary_from_proto,
)
from fovea.decoder.v1 import decoder_pb2, usage_pb2
from fovea.encoder.v1 import encoder_pb2

RENEW_S = 3600.0
"""An image that expires sooner than this is sent again.

`DescribeImage` does not renew the expiry. The service renews it when it receives the upload's header and
reads only what is in flight by then. An hour exceeds clock skew and the length of a conversation, and is a
small part of the default day, so this costs at most an upload per day. If the image is evicted all the same,
`answered` stores it again.
"""


def put(api: Any, upload: FileUpload, progress: Progress = unheard) -> Steps[StoredImage]:
    """Store a file, unless it is stored and expires late enough."""
    if upload.byte_size > SMALL_BYTES:
        try:
            held = yield from describe(api, upload.digest)
        except ImageNotStored:
            pass
        else:
            if held.expires - time.time() > RENEW_S:
                return held
    return (yield from _send(api, upload, progress))


def _send(api: Any, upload: FileUpload, progress: Progress = unheard) -> Steps[StoredImage]:
    requests = partial(upload.requests, api.PutImageHeader, api.PutImageRequest, progress)
    with naming_image(upload.name):
        return stored_from_proto((yield UploadRpc("PutImage", requests, upload.digest)))


def describe(api: Any, digest: str) -> Steps[StoredImage]:
    return stored_from_proto((yield Rpc("DescribeImage", api.DescribeImageRequest(digest=digest), digest)))


def answered(draft: RequestDraft, call: Rpc) -> Steps[Any]:
    """The reply to the call of a draft, whose files are stored first.

    An image that was evicted since then is sent again, unless only its id is known here. A second loss is
    raised to the caller.
    """
    for upload in draft.uploads:
        yield from put(decoder_pb2, upload)
    with asking(draft.names):
        try:
            return (yield call)
        except ImageNotStored as error:
            if not draft.uploads:
                error.advise("only its id was given: give the file itself, alone or in a list of images")
                raise
        for upload in draft.uploads:
            yield from _send(decoder_pb2, upload)
        return (yield call)


def generate(draft: RequestDraft) -> Steps[Any]:
    """The open response stream."""
    return (yield from answered(draft, StreamRpc("Generate", draft.request, key_of(draft.request))))


def count(draft: RequestDraft) -> Steps[Count]:
    request = decoder_pb2.CountTokensRequest(request=draft.request)
    rpc = Rpc("CountTokens", request, key_of(draft.request))
    return count_from_proto((yield from answered(draft, rpc)))


def info(api: Any) -> Steps[ServerInfo]:
    return server_info_from_proto((yield Rpc("GetServerInfo", api.GetServerInfoRequest())), api)


def count_size(width: int, height: int, max_pixels: int | None) -> Steps[TokenCount]:
    request = encoder_pb2.CountTokensRequest(width=width, height=height, max_pixels=max_pixels)
    return token_count_from_proto((yield Rpc("CountTokens", request)).count)


def encode(digest: str, plan: EncodePlan, fingerprint: str) -> Steps[Any]:
    """The open stream of an image's rows."""
    return (yield StreamRpc("Encode", _encode_request(digest, plan, fingerprint), digest))


def place_rows(
    digest: str, plan: EncodePlan, fingerprint: str, stored_only: bool, order: bool
) -> Steps[Placed]:
    request = encoder_pb2.PlaceRowsRequest(
        encode=_encode_request(digest, plan, fingerprint), stored_only=stored_only, order=order
    )
    placement = placement_from_proto((yield Rpc("PlaceRows", request, digest)))
    check_kept(placement.header, placement.header.count.tokens, RowsMismatch)
    return Placed.of(placement)


def _encode_request(digest: str, plan: EncodePlan, fingerprint: str) -> encoder_pb2.EncodeRequest:
    return encoder_pb2.EncodeRequest(digest=digest, plan=plan_to_proto(plan), fingerprint=fingerprint)


def delete(digest: str) -> Steps[Deleted]:
    reply = yield Rpc("DeleteImage", encoder_pb2.DeleteImageRequest(digest=digest), digest)
    return deleted_from_proto(reply)


def purge(tenant: str) -> Steps[Deleted]:
    return deleted_from_proto((yield Rpc("PurgeTenant", encoder_pb2.PurgeTenantRequest(tenant=tenant))))


def delete_everywhere(digest: str) -> Steps[Deletion]:
    reply = yield Rpc("DeleteImage", decoder_pb2.DeleteImageRequest(digest=digest), digest)
    return deletion_from_proto(reply)


def purge_everywhere(tenant: str) -> Steps[Deletion]:
    reply = yield Rpc("PurgeTenant", decoder_pb2.PurgeTenantRequest(tenant=tenant))
    return deletion_from_proto(reply)


def summarize_usage(by: Dimension | None, chosen: UsageFilter) -> Steps[list[UsageSummary]]:
    request = usage_pb2.SummarizeUsageRequest(filter=filter_to_proto(chosen), by=dimension_to_proto(by))
    return [summary_from_proto(each) for each in (yield Rpc("SummarizeUsage", request)).summaries]


def usage_page(chosen: UsageFilter, page: str) -> Steps[UsagePage]:
    reply = yield Rpc(
        "ListUsage", usage_pb2.ListUsageRequest(filter=filter_to_proto(chosen), page_token=page)
    )
    return UsagePage(tuple(map(record_from_proto, reply.records)), reply.next_page_token)


def get_usage(request_id: str) -> Steps[list[UsageRecord]]:
    reply = yield Rpc("GetUsage", usage_pb2.GetUsageRequest(request_id=request_id))
    return list(map(record_from_proto, reply.records))


def list_anomalies(tenant: str) -> Steps[list[Anomaly]]:
    reply = yield Rpc("ListAnomalies", usage_pb2.ListAnomaliesRequest(tenant=tenant))
    return list(map(anomaly_from_proto, reply.anomalies))


def cache_stats() -> Steps[CacheStats]:
    return cache_stats_from_proto((yield Rpc("GetCacheStats", encoder_pb2.GetCacheStatsRequest())))
