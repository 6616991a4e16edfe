"""The decoder's failures: one class each, with its canonical code, its reason and the facts it
carries.

Each constructor takes the facts and writes the message, so that the same failure reads the same
everywhere. This module knows no RPC handler and no engine; `fovea.contract.errors` says what a failure is.
"""

from __future__ import annotations

import grpc

from fovea.checkpoint import CheckpointNotSupported as CheckpointNotSupported
from fovea.contract.errors import FoveaError, InvalidArgument, Violation


class ContextTooLong(InvalidArgument):
    """Prompt and answer together do not fit the context that this server gives a request.

    `max_pixels_that_fits` is the largest size of the images with which they would; 0 if none does.
    """

    reason = "CONTEXT_TOO_LONG"

    def __init__(
        self,
        limit: int,
        prompt_tokens: int,
        max_new_tokens: int,
        max_pixels_that_fits: int | None = None,
    ) -> None:
        super().__init__(
            f"{prompt_tokens} prompt tokens and up to {max_new_tokens} new ones exceed the context"
            f" of {limit} tokens{self._advice(max_pixels_that_fits)}",
            limit=limit,
            prompt_tokens=prompt_tokens,
            max_new_tokens=max_new_tokens,
        )
        if max_pixels_that_fits is not None:
            pixels = {"max_pixels_that_fits": str(max_pixels_that_fits)}
            self.metadata = {**self.metadata, **pixels}

    @staticmethod
    def _advice(max_pixels: int | None) -> str:
        if max_pixels is None:
            return ""
        return f"; max_pixels {max_pixels} fits" if max_pixels else "; no max_pixels makes it fit"


class MaxNewTokensTooLarge(InvalidArgument):
    """More new tokens are asked for than the server's cap: refused, never clamped."""

    reason = "MAX_NEW_TOKENS_TOO_LARGE"

    def __init__(self, limit: int, max_new_tokens: int) -> None:
        super().__init__(
            f"max_new_tokens {max_new_tokens} is above this server's limit of {limit}",
            limit=limit,
            max_new_tokens=max_new_tokens,
        )


class ImagesMismatch(InvalidArgument):
    """The prompt speaks of another number of images than were given."""

    reason = "IMAGES_MISMATCH"

    def __init__(self, expected: int, received: int) -> None:
        super().__init__(
            f"the prompt has {expected} images, {received} were given",
            expected=expected,
            received=received,
        )


class RowsMismatch(FoveaError):
    """The rows of an image are not what its place in the prompt needs: wrong count, order, size or
    layout.
    """

    code = grpc.StatusCode.DATA_LOSS
    reason = "ROWS_MISMATCH"


class RowsInterrupted(FoveaError):
    """The stream of an image's rows was cut off before its end."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENCODER_UNAVAILABLE"

    def __init__(self, start: int) -> None:
        super().__init__(
            f"the stream of the rows of the image at token {start} was cut off",
            retry_after_s=1.0,
            token=start,
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


class RequestFailed(FoveaError):
    """The engine could not compute one request, tried alone; others go on."""

    def __init__(self) -> None:
        super().__init__("the engine could not compute this request")


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


class EngineNotInstalled(EngineUnavailable):
    """The engine that the settings name is not in this environment."""

    def __init__(self, package: str, why: str) -> None:
        super().__init__(f"{why}; `make test-vllm` shows how an environment for it is made", package=package)


class EncoderMismatch(FoveaError):
    """The encoder serves another model: its rows mean nothing to this decoder."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "ENCODER_MISMATCH"


class EncoderUnavailable(FoveaError):
    """No encoder that owns the image answers."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "ENCODER_UNAVAILABLE"


class EncoderChanged(EncoderUnavailable):
    """An encoder sends other rows than it announced: it was started again with other settings meanwhile. What
    was asked of it before has to be asked again.
    """


class Aborted(FoveaError):
    """The request was ended from outside before its answer was complete."""

    code = grpc.StatusCode.CANCELLED
    reason = "ABORTED"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"request {request_id} was aborted", request_id=request_id)


class TooManyImages(InvalidArgument):
    """More images than one request may have."""

    reason = "TOO_MANY_IMAGES"

    def __init__(self, limit: int, images: int) -> None:
        super().__init__(
            f"{images} images are more than this server's limit of {limit}",
            violations=[Violation("messages", f"more than {limit} images")],
            limit=limit,
            actual=images,
        )


class MaxPixelsOutOfRange(InvalidArgument):
    """A max_pixels that the checkpoint's processor cannot keep."""

    def __init__(self, least: int, most: int, actual: int) -> None:
        super().__init__(
            f"max_pixels {actual} is outside of {least} to {most}, the checkpoint's own limits",
            violations=[Violation("visual.max_pixels", f"must be between {least} and {most}")],
            least=least,
            limit=most,
            actual=actual,
        )


class VisualBudgetExceeded(InvalidArgument):
    """The images cost more visual tokens than the request allows, or cannot be made small enough.

    `fits` is the largest max_pixels at which they would fit; 0 if none does.
    """

    reason = "VISUAL_BUDGET_EXCEEDED"

    def __init__(self, limit: int, actual: int, fits: int) -> None:
        advice = f"max_pixels {fits} fits" if fits else "no max_pixels makes them fit"
        super().__init__(
            f"the images cost {actual} visual tokens, the budget is {limit}; {advice}",
            violations=[Violation("visual.max_visual_tokens", f"below {actual}; {advice}")],
            limit=limit,
            actual=actual,
            fits=fits,
        )


class FormatTooLarge(InvalidArgument):
    """A response_format of more bytes than this server looks at."""

    def __init__(self, field: str, limit: int, actual: int) -> None:
        super().__init__(
            f"{field} has {actual} bytes; at most {limit} are allowed",
            violations=[Violation(field, f"more than {limit} bytes")],
            limit=limit,
            actual=actual,
        )


class FormatTooCostly(InvalidArgument):
    """A response_format that takes more to compile than is spent on one. `what` is above `limit`; without an
    `actual` nobody knows how far.
    """

    reason = "FORMAT_TOO_COSTLY"

    def __init__(self, field: str, what: str, limit: float, actual: float | None = None) -> None:
        known = f"above {limit}" if actual is None else f"{actual}"
        above = f"{what} is {known}; the limit is {limit}"
        super().__init__(
            f"{field} costs too much: {above}",
            violations=[Violation(field, above)],
            limit=limit,
            actual=known,
        )


class FormatNotEnforceable(InvalidArgument):
    """A response_format that is wrong, or uses what is not enforced."""

    def __init__(self, field: str, why: str) -> None:
        told = why if len(why) <= 300 else f"{why[:299]}…"
        super().__init__(f"{field} cannot be enforced: {told}", violations=[Violation(field, told)])


class ImageTooLarge(InvalidArgument):
    """A file of more bytes than this server takes."""

    reason = "IMAGE_TOO_LARGE"

    def __init__(self, limit: int, actual: int) -> None:
        super().__init__(
            f"the image has {actual} bytes or more; at most {limit} are allowed",
            violations=[Violation("data", f"more than {limit} bytes")],
            limit=limit,
            actual=actual,
        )


class NotReady(FoveaError):
    """The model is still being loaded."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "NOT_READY"

    def __init__(self, progress: float) -> None:
        super().__init__(
            f"the model is still loading ({progress:.0%})", retry_after_s=1.0, progress=f"{progress:.2f}"
        )
