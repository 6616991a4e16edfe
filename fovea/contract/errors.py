"""What a failure is: one exception class per failure, with its code, its reason and its facts.

A class says what went wrong in the words of the caller; `fovea.server` turns it into a gRPC status and
`fovea.client` turns the status back. This module knows no RPC and no service: each service defines its own
failures as subclasses in its `errors.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import grpc

DOMAIN = "fovea.dev"


@dataclass(frozen=True)
class Violation:
    """One field of a request and what is wrong with it, as in google.rpc.BadRequest."""

    field: str
    description: str


class FoveaError(Exception):
    """A failure that the caller is told about.

    `code` is the canonical gRPC code, `reason` a value of fovea.vision.v1.ErrorReason without its prefix.
    Everything in the message that varies stands in `metadata` too, so that machines need not parse prose.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    retry_after_s: float | None = None

    def __init__(
        self,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
        **metadata: object,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.violations = tuple(violations)
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items()}
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class InvalidArgument(FoveaError):
    """A request that can never succeed as it stands."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"


class NotServed(FoveaError):
    """A field of the contract that this server does not act on yet: refused, never ignored."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "NOT_SERVED"

    def __init__(self, *fields: str) -> None:
        super().__init__(
            f"not served by this version: {', '.join(fields)}",
            violations=[Violation(f, "set, but not served by this version") for f in fields],
            fields=",".join(fields),
        )
