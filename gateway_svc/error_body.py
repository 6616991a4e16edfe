"""From a FoveaError to an HTTP answer in the shape of the OpenAI API, or of Anthropic's.

    {"error": {"message", "type", "param", "code", "fovea": {"request_id", "metadata", "violations"}}}

`code` is the reason of the contract, `param` the first field that is wrong, by its name in the request.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from grpc import StatusCode
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from fovea.contract.errors import FoveaError, Internal
from gateway_svc.errors import BodyInvalid, PathUnknown
from gateway_svc.field_names import public_name

ANTHROPIC = "/v1/messages"
CLIENT_CLOSED = 499
PATH_CHARACTERS = 200

_STATUS: Mapping[StatusCode, int] = {
    StatusCode.INVALID_ARGUMENT: 400,
    # Not 412 and 501: clients retry what is 500 or above, and these never succeed.
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.UNIMPLEMENTED: 400,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ABORTED: 408,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.CANCELLED: CLIENT_CLOSED,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}
_STATUS_OF_REASON = {"MESSAGE_TOO_LARGE": 413, "IMAGE_TOO_LARGE": 413, "STORE_FULL": 507}
_TYPE = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_TYPE_OF_REASON = {"QUOTA_EXCEEDED": "insufficient_quota"}
_PARAM_OF_REASON = {"CONTEXT_TOO_LONG": "messages", "MAX_NEW_TOKENS_TOO_LARGE": "max_completion_tokens"}
"""The field of errors that name none."""
log = structlog.get_logger()


def status_of(error: FoveaError) -> int:
    """The HTTP status; 500 for a code that no caller can mend."""
    return _STATUS_OF_REASON.get(error.reason, _STATUS.get(error.code, 500))


def type_of(error: FoveaError) -> str:
    status = status_of(error)
    general = "server_error" if status >= 500 else "invalid_request_error"
    return _TYPE_OF_REASON.get(error.reason, _TYPE.get(status, general))


def body_of(error: FoveaError, request_id: str) -> dict[str, Any]:
    """The value of `error` in the answer."""
    named = public_name if error.received else str  # the gateway's own errors have public names already
    violations = [{"field": named(each.field), "description": each.description} for each in error.violations]
    return {
        "message": error.message,
        "type": type_of(error),
        "param": (violations[0]["field"] if violations else "") or _PARAM_OF_REASON.get(error.reason),
        "code": error.reason,
        "fovea": {
            "request_id": error.request_id or request_id,
            "metadata": dict(error.metadata),
            "violations": violations,
        },
    }


def headers_of(error: FoveaError) -> dict[str, str]:
    """When to retry, if ever: official clients read `x-should-retry` and `retry-after-ms`."""
    if error.retry_after_s is not None:
        return {
            "retry-after": str(max(1, math.ceil(error.retry_after_s))),
            "retry-after-ms": str(math.ceil(1000 * error.retry_after_s)),
            "x-should-retry": "true",
        }
    # An unreachable service may come back at any time; everything else fails again.
    return {} if error.code is StatusCode.UNAVAILABLE else {"x-should-retry": "false"}


def respond(error: FoveaError, path: str, request_id: str) -> Response:
    """The whole answer."""
    body: dict[str, Any] = {"error": body_of(error, request_id)}
    if path.startswith(ANTHROPIC):
        body = {"type": "error", "error": body["error"], "request_id": request_id}
    return JSONResponse(body, status_of(error), headers_of(error))


async def _on_error(request: Request, error: Exception) -> Response:
    known = error if isinstance(error, FoveaError) else unexpected(error)
    request.state.reason = known.reason
    return respond(known, request.url.path, request.state.request_id)


async def _on_http(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: an unknown path, or a method that a path does not have."""
    if isinstance(error, HTTPException) and error.status_code not in (404, 405):
        return await _on_error(request, BodyInvalid("is no form that can be read"))
    return await _on_error(request, PathUnknown(request.method, request.url.path[:PATH_CHARACTERS]))


def unexpected(error: Exception) -> FoveaError:
    """A bug. Neither the answer nor the log quotes the error: it may hold what the client has sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code if trace else None
    where = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}" if code and trace else ""
    log.error("unexpected", error=type(error).__name__, at=where)
    return Internal("internal error; the request id finds it in the gateway's log")


EXCEPTION_HANDLERS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    FoveaError: _on_error,
    HTTPException: _on_http,
}
