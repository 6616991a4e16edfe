"""Checks an encoder's refusal before a caller reads it.

Code, reason and advice decide what callers and the failover do next. A status that no encoder of ours sends
counts as a failure of the encoder, so that another may serve the image. Independent of the connection.
"""

from __future__ import annotations

import re

from grpc import StatusCode

from fovea.contract.errors import BY_REASON, FoveaError, Violation

LONGEST_RETRY_S = 60.0
TEXT_CHARS = 512
RELAYED = frozenset(
    {
        StatusCode.INVALID_ARGUMENT,
        StatusCode.NOT_FOUND,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
        StatusCode.UNIMPLEMENTED,
        StatusCode.UNAVAILABLE,
        StatusCode.DATA_LOSS,
        StatusCode.DEADLINE_EXCEEDED,
    }
)
"""Codes of refusals. Others, such as INTERNAL, tell of a defect of the encoder."""
_REASON = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class RefusalInvalid(Exception):
    """A status that is no refusal of an encoder."""


def checked_refusal(error: FoveaError) -> FoveaError:
    """The refusal with bounded texts and advice. Raises RefusalInvalid.

    The code of a known reason is fixed; a reason of a newer encoder passes with its code.
    """
    kind = BY_REASON.get(error.reason)
    if error.code not in RELAYED or not _REASON.fullmatch(error.reason):
        raise RefusalInvalid
    if kind is not None and kind.code is not error.code:
        raise RefusalInvalid
    error.message = _plain(error.message)
    error.args = (error.message,)
    error.metadata = {_plain(key): _plain(value) for key, value in error.metadata.items()}
    error.violations = tuple(Violation(_plain(v.field), _plain(v.description)) for v in error.violations)
    if error.retry_after_s is not None:
        error.retry_after_s = min(max(error.retry_after_s, 0.0), LONGEST_RETRY_S)
    return error


def _plain(text: str) -> str:
    """The text without control characters, which could forge lines of a log or a terminal's colours."""
    return "".join(filter(str.isprintable, text[:TEXT_CHARS]))
