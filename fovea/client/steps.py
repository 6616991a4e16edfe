"""What the clients ask and in which order, written once for the blocking and the awaiting ones.

Each function is a generator of calls that gets the replies where it yielded them, and returns a value of the
client; `fovea.client.connection` makes the calls. Nothing here waits, and nothing here knows how a call is
made. `api` is the module of a service's messages, where both services have the same call.
"""

from __future__ import annotations

import time
from typing import Any

from fovea.client import convert
from fovea.client.connection import Rpc, Steps, StreamRpc
from fovea.client.messages import RequestDraft
from fovea.client.naming import asking, uploading
from fovea.client.upload import FileUpload, Progress, unheard
from fovea.client.values import Placed, ServerInfo
from fovea.contract.cache import CacheStats, Deleted, cache_stats_from_proto, deleted_from_proto
from fovea.contract.count import Count, TokenCount, count_from_proto, token_count_from_proto
from fovea.contract.errors import ImageNotStored
from fovea.contract.image import StoredImage
from fovea.contract.plan import EncodePlan, plan_to_proto
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2

ASK_FIRST_BYTES = 64 * 1024
"""Files above this are announced before they are sent. Smaller ones are gone before a question would be
answered: they fit into what HTTP/2 sends without waiting."""

RENEW_S = 3600.0
"""An image that is kept for less than this is sent again, although it is stored: `DescribeImage` does not
renew, and who stores an image means to use it. The service renews it at the header of the upload and takes no
more than is on its way by then. An hour is more than clocks differ and than a conversation about an image
lasts, and little of the day for which images are kept by default, so that it costs an upload at most once a
day. Should the image be gone all the same when it is asked about, `answered` stores it once more."""


def put(api: Any, upload: FileUpload, progress: Progress = unheard) -> Steps[StoredImage]:
    """Store a file, unless it is stored and will be for a while."""
    if upload.byte_size > ASK_FIRST_BYTES:
        try:
            held = yield from describe(api, upload.digest)
        except ImageNotStored:
            pass
        else:
            if held.expires - time.time() > RENEW_S:
                return held
    return (yield from _send(api, upload, progress))


def _send(api: Any, upload: FileUpload, progress: Progress = unheard) -> Steps[StoredImage]:
    requests = upload.requests(api.PutImageHeader, api.PutImageRequest, progress)
    with uploading(upload.name):
        return convert.stored((yield Rpc("PutImage", requests)))


def describe(api: Any, digest: str) -> Steps[StoredImage]:
    return convert.stored((yield Rpc("DescribeImage", api.DescribeImageRequest(digest=digest))))


def answered(draft: RequestDraft, call: Rpc) -> Steps[Any]:
    """The reply to a call about a draft, whose files are stored first. An image that a server has let go
    since then is sent once more, unless only its id is known here; a second loss is the caller's to hear
    of."""
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
    """The open stream of an answer."""
    return (yield from answered(draft, StreamRpc("Generate", draft.request)))


def count(draft: RequestDraft) -> Steps[Count]:
    request = decoder_pb2.CountTokensRequest(request=draft.request)
    return count_from_proto((yield from answered(draft, Rpc("CountTokens", request))))


def info(api: Any) -> Steps[ServerInfo]:
    reply = yield Rpc("GetServerInfo", api.GetServerInfoRequest())
    return convert.server_info(reply, api.ServingState)


def count_size(width: int, height: int, max_pixels: int | None) -> Steps[TokenCount]:
    request = encoder_pb2.CountTokensRequest(width=width, height=height, max_pixels=max_pixels)
    return token_count_from_proto((yield Rpc("CountTokens", request)).count)


def encode(digest: str, plan: EncodePlan, fingerprint: str) -> Steps[Any]:
    """The open stream of an image's rows."""
    return (yield StreamRpc("Encode", _encode_request(digest, plan, fingerprint)))


def place_rows(
    digest: str, plan: EncodePlan, fingerprint: str, stored_only: bool, order: bool
) -> Steps[Placed]:
    request = encoder_pb2.PlaceRowsRequest(
        encode=_encode_request(digest, plan, fingerprint), stored_only=stored_only, order=order
    )
    return convert.placed((yield Rpc("PlaceRows", request)))


def _encode_request(digest: str, plan: EncodePlan, fingerprint: str) -> encoder_pb2.EncodeRequest:
    return encoder_pb2.EncodeRequest(digest=digest, plan=plan_to_proto(plan), fingerprint=fingerprint)


def delete(digest: str) -> Steps[Deleted]:
    reply = yield Rpc("DeleteImage", encoder_pb2.DeleteImageRequest(digest=digest))
    return deleted_from_proto(reply)


def cache_stats() -> Steps[CacheStats]:
    return cache_stats_from_proto((yield Rpc("GetCacheStats", encoder_pb2.GetCacheStatsRequest())))
