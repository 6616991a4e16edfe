"""What a failure is: one exception class per failure, with its code, its reason and its facts.

A class says what went wrong in the caller's words. `fovea.server.status` turns it into a gRPC status, and
`fovea.contract.errors.received` turns a status back into the same class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import grpc

DOMAIN = "fovea.dev"

CALLERS = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)
"""Codes of failures that lie in what the caller sent."""

IMAGE_FIELDS = frozenset({"", "data", "digest", "width", "height"})
"""What errors about a single image call its parts; within a request they need the image's path."""


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
    image: str = ""
    """The caller's own name of the image that failed, if it has one."""
    request_id: str = ""
    """Finds the call in the log of the service that failed."""
    received: bool = False
    """Whether a service of ours reported this failure over gRPC."""

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
        """Say which image it is about, in front of the message."""
        self.image = name
        if name not in self.message:
            self.message = f"{name}: {self.message}"
        self.args = (self.message,)

    def advise(self, what: str) -> None:
        """Append what the caller can do to the message."""
        self.message = f"{self.message}; {what}"
        self.args = (self.message,)


@contextmanager
def about_image(path: str) -> Iterator[None]:
    """Failures of the image at `path` of a request name that path, for instance `messages[0].parts[1].image`.

    Only failures of the caller's making do: an encoder that cannot be reached is not the image's fault.
    """
    try:
        yield
    except FoveaError as error:
        if not path or error.code not in CALLERS:
            raise
        raise _at(path, error) from error


def _at(path: str, error: FoveaError) -> FoveaError:
    """A copy, because callers that wait for the same image share the original."""
    copy = type(error).__new__(type(error))
    copy.__dict__.update(vars(error))
    copy.args = error.args
    violations = error.violations or (Violation("", error.message),)
    copy.violations = tuple(replace(v, field=path) if v.field in IMAGE_FIELDS else v for v in violations)
    return copy
