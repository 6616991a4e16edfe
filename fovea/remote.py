"""A failure that came back over gRPC, as the same kind of exception that was raised on the other side.

Reads code, ErrorInfo, BadRequest and RetryInfo from a status. Whoever calls a service uses this; whoever
serves uses `fovea.server.status`.
"""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2, status_pb2

from fovea.errors import DOMAIN, FoveaError, Violation

# What a status without our details means, by its code.
_PLAIN = {
    grpc.StatusCode.UNAVAILABLE: "UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.CANCELLED: "ABORTED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "MESSAGE_TOO_LARGE",
    grpc.StatusCode.UNIMPLEMENTED: "NOT_SERVED",
}


class RemoteError(FoveaError):
    """A failure of another process. `code` and `reason` are the remote ones; `request_id` finds its log."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code  # type: ignore[misc]  # ours is one class for every failure of others
        self.reason = reason  # type: ignore[misc]
        self.request_id = ""


def _read(error: RemoteError, status: status_pb2.Status) -> None:
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            if info.domain == DOMAIN:
                error.reason = info.reason  # type: ignore[misc]
                error.metadata = dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            request = error_details_pb2.BadRequest.FromString(detail.value)
            error.violations = tuple(Violation(v.field, v.description) for v in request.field_violations)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
            error.retry_after_s = delay.seconds + delay.nanos / 1e9
        elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
            error.request_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id


def error_of(call: grpc.RpcError) -> RemoteError:
    """The failure behind an RpcError of a sync or an aio call."""
    code = call.code()
    message = call.details() or code.name
    error = RemoteError(code, _PLAIN.get(code, "UNKNOWN"), message)
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            _read(error, status_pb2.Status.FromString(value))
    return error
