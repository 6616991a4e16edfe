"""A failed call as a client without our code sees it: code, text and the google.rpc details."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from bench.fault_cases.leaks import leaks

DETAILS_BYTES = 4096


@dataclass
class Failure:
    """`violations` by field; `retry_s` is None without RetryInfo."""

    code: str
    message: str
    reason: str = ""
    domain: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: dict[str, str] = field(default_factory=dict)
    retry_s: float | None = None
    request_id: str = ""
    details_bytes: int = 0
    metadata_bytes: int = 0


async def failure(call: Awaitable[Any] | Any) -> Failure:
    """The failure of a call that must fail, unary or streamed. Checks its details and text."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        result = _read(error)
    else:
        raise AssertionError("the call did not fail")
    _check(result)
    return result


def _read(error: grpc.aio.AioRpcError) -> Failure:
    result = Failure(error.code().name, error.details() or "")
    trailing = list(error.trailing_metadata() or ())
    result.metadata_bytes = sum(len(key) + len(value) for key, value in trailing)
    status = rpc_status.from_call(error)  # raises where the details contradict code or text
    if status is None:
        return result
    result.details_bytes = status.ByteSize()
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            result.reason, result.domain, result.metadata = info.reason, info.domain, dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            result.violations = {v.field: v.description for v in bad.field_violations}
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            result.retry_s = delay.seconds + delay.nanos / 1e9
        elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
            result.request_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id
    return result


def _check(failure: Failure) -> None:
    from fovea.vision.v1 import errors_pb2

    assert failure.domain == "fovea.dev", f"an error that is not ours: {failure}"
    assert f"ERROR_REASON_{failure.reason}" in errors_pb2.ErrorReason.keys(), failure
    assert failure.request_id, failure
    assert failure.details_bytes < DETAILS_BYTES, failure
    texts = (failure.message, *failure.metadata.values(), *failure.violations.values())
    leaked = leaks(texts)
    assert not leaked, f"{failure.reason} tells of our insides: {leaked}"
