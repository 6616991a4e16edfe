"""From a gRPC status back to the error that was raised on the server.

Reads code, ErrorInfo, BadRequest, RetryInfo and RequestInfo. `fovea.server.status` is the inverse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from fovea.contract.errors import BY_REASON, DOMAIN, FoveaError, RemoteError, Violation

DETAILS = "grpc-status-details-bin"

# The reason of a status without our details, by its code.
_PLAIN = {
    grpc.StatusCode.UNAVAILABLE: "UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.CANCELLED: "ABORTED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "MESSAGE_TOO_LARGE",
    grpc.StatusCode.UNIMPLEMENTED: "NOT_SERVED",
}


@dataclass
class _Details:
    """The details of a status. An ErrorInfo of another domain is ignored."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after_s: float | None = None
    request_id: str = ""

    def read(self, status: status_pb2.Status) -> None:
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                if info.domain == DOMAIN:
                    self.reason, self.metadata = info.reason, dict(info.metadata)
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                request = error_details_pb2.BadRequest.FromString(detail.value)
                self.violations = tuple(Violation(v.field, v.description) for v in request.field_violations)
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                self.retry_after_s = delay.seconds + delay.nanos / 1e9
            elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
                self.request_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id


def error_of(call: grpc.RpcError) -> FoveaError:
    """The error of an RpcError (sync or aio), in the class of its reason."""
    code, details = call.code(), _details(call)
    reason = details.reason or _PLAIN.get(code, RemoteError.reason)
    kind = BY_REASON.get(reason, RemoteError)
    error = kind.__new__(kind)  # the constructor needs arguments that only the server has
    FoveaError.__init__(error, call.details() or code.name)
    error.code = code  # type: ignore[misc]  # the code on the wire takes precedence over the class
    error.reason = reason  # type: ignore[misc]
    error.received = bool(details.reason)
    error.metadata, error.violations = details.metadata, details.violations
    error.retry_after_s, error.request_id = details.retry_after_s, details.request_id
    return error


def _details(call: grpc.RpcError) -> _Details:
    """Unreadable details are ignored: code and text still count."""
    details = _Details()
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS:
            try:
                details.read(status_pb2.Status.FromString(value))
            except DecodeError:
                return _Details()
    return details
