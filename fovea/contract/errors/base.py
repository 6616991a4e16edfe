"""The base of all failures: an exception class per failure, with code, reason and metadata.

`fovea.server.status` turns an error into a gRPC status; `fovea.contract.remote` turns a status back into the
same class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from string import Formatter
from typing import ClassVar, dataclass_transform

import grpc

__all__ = ["CALLERS", "DOMAIN", "IMAGE_FIELDS", "FoveaError", "TemplatedError", "Violation", "about_image"]

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
    Subclasses declare both in the class header and otherwise inherit them. Every variable part of the message
    is in `metadata` too, so machines need not parse prose.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    retry_after_s: float | None
    """Seconds until a retry can succeed. None if a retry is pointless."""
    image: str = ""
    """The caller's own name of the failed image, if any."""
    request_id: str = ""
    """Identifies the call in the log of the service that failed."""
    received: bool = False
    """Whether a Fovea service reported this failure over gRPC."""

    def __init_subclass__(cls, code: grpc.StatusCode | None = None, reason: str | None = None) -> None:
        super().__init_subclass__()
        if code is not None:
            cls.code = code
        if reason is not None:
            cls.reason = reason

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


@dataclass_transform(eq_default=False)
class TemplatedError(FoveaError):
    """A failure declared by its fields and templates. The constructor takes the fields.

        class ImageTooLarge(TemplatedError, InvalidArgument, reason="IMAGE_TOO_LARGE"):
            text = "the image has {actual} bytes; at most {limit} are allowed"
            violation = "data", "more than {limit} bytes"
            actual: int
            limit: int

    Templates are format strings over the attributes, so a property can supply a computed value. A field must
    not have the name of an attribute of FoveaError, except `retry_after_s`. An error that came over gRPC has
    no field attributes, only `metadata`.
    """

    text: ClassVar[str]
    """Template of the message."""
    violation: ClassVar[tuple[str, str] | None] = None
    """Templates of the violation: the path of the request's field, and its problem."""
    info: ClassVar[str | None] = None
    """Templates of the metadata, such as `limit={limit} actual={waiting}`.

    The default is every field that is not None, under its own name.
    """

    def __init_subclass__(cls, code: grpc.StatusCode | None = None, reason: str | None = None) -> None:
        super().__init_subclass__(code, reason)
        dataclass(eq=False, repr=False)(cls)

    def __init__(self) -> None:
        """Only for type checkers, which generate no constructor for a class without fields."""

    def __post_init__(self) -> None:
        metadata = self._metadata()  # first, while the fields are the only attributes
        violations = [Violation(*map(self._fill, self.violation))] if self.violation else []
        retry_after_s = getattr(self, "retry_after_s", None)  # a field, a class attribute, or neither
        super().__init__(self._fill(self.text), violations=violations, retry_after_s=retry_after_s)
        self.metadata = metadata

    def _metadata(self) -> dict[str, str]:
        if self.info is None:
            values = {name: value for name, value in vars(self).items() if name != "retry_after_s"}
            return {name: str(value) for name, value in values.items() if value is not None}
        pairs = (pair.split("=", 1) for pair in self.info.split())
        return {key: self._fill(template) for key, template in pairs}

    def _fill(self, template: str) -> str:
        names = [name for _, name, _, _ in Formatter().parse(template) if name]
        return template.format_map({name: getattr(self, name) for name in names})


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
