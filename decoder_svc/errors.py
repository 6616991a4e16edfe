"""Errors of the decoder: a class per failure, with its canonical code, reason and metadata.

Each class takes the facts and holds the texts, so that a failure reads the same everywhere.
Independent of RPC handlers and engines; `fovea.contract.errors` defines the base classes.
"""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors import EncoderUnavailable, EngineUnavailable, InvalidArgument, TemplatedError


class TiersFileInvalid(TemplatedError, InvalidArgument):
    """A tiers file with which the decoder does not start. `line` is 0 if the file cannot be read."""

    text = "{where}{what} {why}"
    file: str
    line: int
    key: str
    value: object
    why: str

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}" if self.line else self.file

    @property
    def what(self) -> str:
        if not self.key:
            return ""
        return f": {self.key}" if self.value is None else f": {self.key} {self.shown}"

    @property
    def shown(self) -> str:
        shown = repr(self.value)
        return shown if len(shown) <= 80 else f"{shown[:79]}…"


class TierModelInvalid(TemplatedError, InvalidArgument):
    """A model of the tiers file that this decoder cannot serve beside its own."""

    text = "tier {tier}: {why}"
    tier: str
    why: str


class TierBelowBreakEven(TemplatedError, InvalidArgument):
    """A tier that costs at least as much as it saves: a decoder does not start with it."""

    text = (
        "tier {tier} takes {seconds:.4g} s and keeps {keeps:.0%} of the requests, which saves {saves:.4g} s"
        ' of the {after_s:.4g} s that the tiers after it take; remove it, or set break_even = "warn"'
    )
    tier: str
    seconds: float
    keeps: float
    after_s: float

    @property
    def saves(self) -> float:
        return self.keeps * self.after_s


class RowsInterrupted(TemplatedError, code=StatusCode.UNAVAILABLE, reason="ENCODER_UNAVAILABLE"):
    """The row stream of an image was cut off before its end."""

    text = "the stream of the rows of the image at token {start} was cut off"
    info = "token={start}"
    retry_after_s = 1.0
    start: int


class RequestFailed(TemplatedError):
    """The engine could not compute this request even on its own; other requests continue."""

    text = "the engine could not compute this request"


class EngineNotInstalled(TemplatedError, EngineUnavailable):
    """The configured engine is not installed in this environment."""

    text = "{why}; `make test-vllm` shows how an environment for it is made"
    info = "package={package}"
    package: str
    why: str


class ModelNotDivisible(TemplatedError, InvalidArgument):
    """A number of ranks over which vLLM cannot divide the checkpoint. The decoder does not start."""

    text = "{setting} {ranks} {why}"
    violation = "{setting}", "{ranks} {why}"
    info = "setting={setting} actual={ranks}"
    setting: str
    ranks: int
    why: str


class BackendNotSupported(TemplatedError, InvalidArgument):
    """vLLM does not start its processes like this on this kind of device. The decoder does not start."""

    text = "distributed_backend {backend}: vLLM does not support it on the platform {platform}"
    violation = "distributed_backend", "{backend} is not supported on the platform {platform}"
    info = "backend={backend} platform={platform}"
    backend: str
    platform: str


class EncoderChanged(EncoderUnavailable):
    """An encoder sends rows other than announced: it restarted with other settings. Earlier answers of this
    encoder are void, so the handshake and the row placement must be repeated.
    """


class EncoderOutdated(TemplatedError, code=StatusCode.UNIMPLEMENTED, reason="NOT_SERVED"):
    """An encoder lacks a call that the request needs. Another encoder may have it."""

    text = "an encoder runs an earlier version and lacks a call that this request needs"


class FormatTooLarge(TemplatedError, InvalidArgument):
    """A response_format larger than this server accepts."""

    text = "{field} has {actual} bytes; at most {limit} are allowed"
    violation = "{field}", "more than {limit} bytes"
    info = "limit={limit} actual={actual}"
    field: str
    limit: int
    actual: int


class FormatNotEnforceable(TemplatedError, InvalidArgument):
    """A response_format that is invalid, or uses a feature that is not enforced."""

    text = "{field} cannot be enforced: {shortened}"
    violation = "{field}", "{shortened}"
    info = ""
    field: str
    why: str

    @property
    def shortened(self) -> str:
        return self.why if len(self.why) <= 300 else f"{self.why[:299]}…"
