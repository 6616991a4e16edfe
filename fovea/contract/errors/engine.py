"""Failures of the engine that runs the language model."""

from __future__ import annotations

import grpc

from fovea.contract.errors.base import FoveaError


class EngineBusy(FoveaError):
    """No room for another request now; try again later."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENGINE_BUSY"

    def __init__(self, limit: int, waiting: int, retry_after_s: float) -> None:
        super().__init__(
            f"{waiting} requests are waiting already, the limit is {limit}",
            retry_after_s=retry_after_s,
            limit=limit,
            waiting=waiting,
        )


class EngineUnavailable(FoveaError):
    """The engine is not running: not started, or closing."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENGINE_UNAVAILABLE"


class EngineFailed(EngineUnavailable):
    """The engine has died, for every request: the process ends, for its supervisor to start it again."""

    reason = "ENGINE_FAILED"


class EngineOutOfMemory(FoveaError):
    """A step of one request alone needs more memory than there is."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENGINE_OUT_OF_MEMORY"

    def __init__(self, prompt_tokens: int) -> None:
        super().__init__(
            f"the engine ran out of memory over this request of {prompt_tokens} prompt tokens;"
            " a shorter prompt may fit",
            prompt_tokens=prompt_tokens,
        )


class AnswerNotFinite(FoveaError):
    """The model computed values that are not finite for one request: such an answer would be noise."""

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
    """The request was ended from outside before its answer was complete."""

    code = grpc.StatusCode.CANCELLED
    reason = "ABORTED"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id} was aborted", request_id=request_id)


class NotReady(FoveaError):
    """The model is still being loaded."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_READY"

    def __init__(self, progress: float) -> None:
        super().__init__(
            f"the model is still loading ({progress:.0%})", retry_after_s=1.0, progress=f"{progress:.2f}"
        )


class CheckpointNotSupported(FoveaError):
    """A folder that is no Qwen3-VL checkpoint, or one that this version cannot serve. Found out at
    start.
    """

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "CHECKPOINT_NOT_SUPPORTED"
