"""Failures of the engine that runs the language model."""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors.base import FoveaError, TemplatedError


class EngineBusy(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="ENGINE_BUSY"):
    """Too much work waits for the engine: `field` would be `actual`. Retry later."""

    text = "the engine is busy: {field} would be {actual:.6g}, and the limit is {limit:.6g}"
    info = "field={field} limit={limit:.6g} actual={actual:.6g}"
    field: str
    limit: float
    actual: float
    retry_after_s: float


class EngineUnavailable(FoveaError, code=StatusCode.UNAVAILABLE, reason="ENGINE_UNAVAILABLE"):
    """The engine is not running: not started yet, or closing."""


class EngineFailed(EngineUnavailable, reason="ENGINE_FAILED"):
    """The engine has died. The process exits, so that its supervisor restarts it."""


class EngineOutOfMemory(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="ENGINE_OUT_OF_MEMORY"):
    """A step of a single request needs more memory than there is."""

    text = (
        "the engine ran out of memory over this request of {prompt_tokens} prompt tokens;"
        " a shorter prompt may fit"
    )
    prompt_tokens: int


class AnswerNotFinite(TemplatedError, code=StatusCode.INTERNAL, reason="ANSWER_NOT_FINITE"):
    """The model computed non-finite values for a request; the answer would be noise."""

    text = (
        "the model computed values that are not finite in {dtype}, after {output_tokens} tokens of the"
        " answer: the prompt's rows or the weights exceed its range"
    )
    dtype: str
    output_tokens: int


class Aborted(FoveaError, code=StatusCode.CANCELLED, reason="ABORTED"):
    """The request was aborted before its answer was complete."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id} was aborted", request_id=request_id)


class NotReady(TemplatedError, code=StatusCode.UNAVAILABLE, reason="NOT_READY"):
    """The model is still loading."""

    text = "the model is still loading ({progress:.0%})"
    info = "progress={progress:.2f}"
    retry_after_s = 1.0
    progress: float


class CheckpointNotSupported(
    FoveaError, code=StatusCode.FAILED_PRECONDITION, reason="CHECKPOINT_NOT_SUPPORTED"
):
    """Not a Qwen3-VL checkpoint, or not supported by this version. Detected at start."""
