"""The base of all failures: an exception class per failure, with code, reason and metadata.

`fovea.server.status` turns an error into a gRPC status; `fovea.contract.remote` turns a status back into the
same class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import grpc

DOMAIN = "fovea.dev"

CALLERS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
"""Codes of failures that the caller caused."""

IMAGE_FIELDS = frozenset({"", "data", "digest", "width", "height"})
"""Field names in errors about a single image; within a request they need the image's path."""


@dataclass(frozen=True)
class Violation:
    """A field of a request and its problem, as in google.rpc.BadRequest."""

    field: str
    description: str


class FoveaError(Exception):
    """A failure that is reported to the caller.

    `code` is the canonical gRPC code, `reason` a value of fovea.vision.v1.ErrorReason without its prefix.
    Every variable part of the message is in `metadata` too, so machines need not parse prose.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    retry_after_s: float | None = None
    image: str = ""
    """The caller's own name of the failed image, if any."""
    request_id: str = ""
    """Identifies the call in the log of the service that failed."""
    received: bool = False
    """Whether a Fovea service reported this failure over gRPC."""

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

    def name_image(self, name: str) -> None:
        """Prefix the message with the image's name."""
        self.image = name
        if name not in self.message:
            self.message = f"{name}: {self.message}"
        self.args = (self.message,)

    def advise(self, what: str) -> None:
        """Append advice for the caller to the message."""
        self.message = f"{self.message}; {what}"
        self.args = (self.message,)


@contextmanager
def about_image(path: str) -> Iterator[None]:
    """Add the image's path in the request, e.g. `messages[0].parts[1].image`, to its failures.

    Only to failures that the caller caused: an unreachable encoder is not the image's fault.
    """
    try:
        yield
    except FoveaError as error:
        if not path or error.code not in CALLERS:
            raise
        raise _at(path, error) from error


def _at(path: str, error: FoveaError) -> FoveaError:
    """Returns a copy: callers that share a computation also share the original error."""
    copy = type(error).__new__(type(error))
    copy.__dict__.update(vars(error))
    copy.args = error.args
    violations = error.violations or (Violation("", error.message),)
    copy.violations = tuple(replace(v, field=path) if v.field in IMAGE_FIELDS else v for v in violations)
    return copy
