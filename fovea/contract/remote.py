"""From a gRPC status back to the failure that was raised on the other side.

Reads code, ErrorInfo, BadRequest, RetryInfo and RequestInfo. `fovea.server.status` is the other direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from fovea.contract.errors import BY_REASON, DOMAIN, FoveaError, RemoteError, Violation

DETAILS = "grpc-status-details-bin"

# What a status without our details means, by its code.
_PLAIN = {
    grpc.StatusCode.UNAVAILABLE: "UNAVAILABLE",
    grpc.StatusCode.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
    grpc.StatusCode.CANCELLED: "ABORTED",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "MESSAGE_TOO_LARGE",
    grpc.StatusCode.UNIMPLEMENTED: "NOT_SERVED",
}


@dataclass
class _Details:
    """What the details of a status say, as far as they are ours."""

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
    """The failure behind an RpcError of a sync or an aio call, in the class of its reason."""
    code, details = call.code(), _details(call)
    reason = details.reason or _PLAIN.get(code, RemoteError.reason)
    kind = BY_REASON.get(reason, RemoteError)
    error = kind.__new__(kind)  # its constructor takes the facts of the side that failed
    FoveaError.__init__(error, call.details() or code.name)
    error.code = code  # type: ignore[misc]  # what was sent counts, whatever the class says
    error.reason = reason  # type: ignore[misc]
    error.received = bool(details.reason)
    error.metadata, error.violations = details.metadata, details.violations
    error.retry_after_s, error.request_id = details.retry_after_s, details.request_id
    return error


def _details(call: grpc.RpcError) -> _Details:
    """Details that cannot be read are not there: the code and the text still count."""
    found = _Details()
    for key, value in call.trailing_metadata() or ():
        if key == DETAILS:
            try:
                found.read(status_pb2.Status.FromString(value))
            except DecodeError:
                return _Details()
    return found
