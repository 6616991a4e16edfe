"""From a FoveaError to a gRPC status: code, ErrorInfo, BadRequest, RetryInfo, RequestInfo.

Details stay under 4 KiB, because Java refuses more than 8 KiB of metadata in total.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from fovea.contract.errors import DOMAIN, FoveaError, QuotaExceeded, Violation

DETAILS_BYTES = 4096
TEXT_BYTES = 256
FLUSH_S = 1.0
INTERNAL_TEXT = "internal error; the request id finds it in the server's log"
Metadata = tuple[tuple[str, str | bytes], ...]


def _cut(text: str) -> str:
    """At most TEXT_BYTES of UTF-8: metadata limits are in bytes, and callers choose the characters."""
    data = text.encode(errors="replace")
    if len(data) <= TEXT_BYTES:
        return text
    return data[: TEXT_BYTES - 3].decode(errors="ignore") + "…"


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message, deterministic=True)
    return packed


def _info(error: FoveaError) -> error_details_pb2.ErrorInfo:
    metadata = {key: _cut(value) for key, value in list(error.metadata.items())[:8]}
    return error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)


def _bad_request(violations: Sequence[Violation]) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(
        field_violations=[
            error_details_pb2.BadRequest.FieldViolation(field=_cut(v.field), description=_cut(v.description))
            for v in violations
        ]
    )


def _quota_failure(error: QuotaExceeded) -> error_details_pb2.QuotaFailure:
    violation = error_details_pb2.QuotaFailure.Violation(
        subject=f"tenant:{error.metadata.get('tenant', '')}", description=_cut(error.message)
    )
    return error_details_pb2.QuotaFailure(violations=[violation])


def _retry(seconds: float) -> error_details_pb2.RetryInfo:
    delay = duration_pb2.Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    return error_details_pb2.RetryInfo(retry_delay=delay)


def of(error: FoveaError, request_id: str) -> status_pb2.Status:
    """The status of an error. Violations that exceed the size limit are dropped from the end."""
    status = status_pb2.Status(code=error.code.value[0], message=_cut(error.message))
    status.details.append(_pack(_info(error)))
    status.details.append(_pack(error_details_pb2.RequestInfo(request_id=request_id)))
    if error.retry_after_s is not None:
        status.details.append(_pack(_retry(error.retry_after_s)))
    if isinstance(error, QuotaExceeded):
        status.details.append(_pack(_quota_failure(error)))
    violations = list(error.violations)
    while violations:
        packed = _pack(_bad_request(violations))
        if status.ByteSize() + packed.ByteSize() < DETAILS_BYTES:
            status.details.append(packed)
            break
        violations.pop()
    return status


def trailing(error: FoveaError, status: status_pb2.Status) -> Metadata:
    """The trailing metadata. Set by hand, because `abort_with_status` would drop the pushback."""
    metadata: Metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    if error.retry_after_s is not None:
        pushback = int(error.retry_after_s * 1000 * random.uniform(1.0, 1.25))
        metadata += (("grpc-retry-pushback-ms", str(pushback)),)
    return metadata


async def abort(context: grpc.aio.ServicerContext, error: FoveaError, request_id: str) -> None:
    """End the call with this error. Raises grpc.aio.AbortError, as `context.abort` does.

    Raises CancelledError if the caller is gone, or does not accept the status within FLUSH_S because it does
    not read earlier messages. gRPC keeps the status for a caller that resumes reading.
    """
    status = of(error, request_id)
    context.set_trailing_metadata(trailing(error, status))
    try:
        async with asyncio.timeout(FLUSH_S):
            await context.abort(error.code, status.message)
    except (TimeoutError, grpc.aio.InternalError) as undelivered:
        raise asyncio.CancelledError from undelivered
