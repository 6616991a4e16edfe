"""Failures of the engine that runs the language model."""

from __future__ import annotations

import grpc

from fovea.contract.errors.base import FoveaError


class EngineBusy(FoveaError):
    """The engine's queue is full; retry later."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENGINE_BUSY"

    def __init__(self, limit: int, waiting: int, retry_after_s: float) -> None:
        super().__init__(
            f"{waiting} requests are already waiting; the limit is {limit}",
            retry_after_s=retry_after_s,
            limit=limit,
            waiting=waiting,
        )


class EngineUnavailable(FoveaError):
    """The engine is not running: not started yet, or closing."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENGINE_UNAVAILABLE"


class EngineFailed(EngineUnavailable):
    """The engine has died. The process exits, so that its supervisor restarts it."""

    reason = "ENGINE_FAILED"


class EngineOutOfMemory(FoveaError):
    """A step of a single request needs more memory than there is."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENGINE_OUT_OF_MEMORY"

    def __init__(self, prompt_tokens: int) -> None:
        super().__init__(
            f"the engine ran out of memory over this request of {prompt_tokens} prompt tokens;"
            " a shorter prompt may fit",
            prompt_tokens=prompt_tokens,
        )


class AnswerNotFinite(FoveaError):
    """The model computed non-finite values for a request; the answer would be noise."""

    code = grpc.StatusCode.INTERNAL
    reason = "ANSWER_NOT_FINITE"

    def __init__(self, dtype: str, output_tokens: int) -> None:
        super().__init__(
            f"the model computed values that are not finite in {dtype}, after {output_tokens} tokens of the"
            f" answer: the prompt's rows or the weights exceed its range",
            dtype=dtype,
            output_tokens=output_tokens,
        )


class Aborted(FoveaError):
    """The request was aborted before its answer was complete."""

    code = grpc.StatusCode.CANCELLED
    reason = "ABORTED"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id} was aborted", request_id=request_id)


class NotReady(FoveaError):
    """The model is still loading."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_READY"

    def __init__(self, progress: float) -> None:
        super().__init__(
            f"the model is still loading ({progress:.0%})", retry_after_s=1.0, progress=f"{progress:.2f}"
        )


class CheckpointNotSupported(FoveaError):
    """Not a Qwen3-VL checkpoint, or not supported by this version. Detected at start."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHECKPOINT_NOT_SUPPORTED"
