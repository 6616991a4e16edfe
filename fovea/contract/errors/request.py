"""Requests that cannot succeed as sent."""

from __future__ import annotations

from typing import Any, ClassVar

import grpc

from fovea.contract.errors.base import FoveaError, Violation


class InvalidArgument(FoveaError):
    """A request that can never succeed as sent."""

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"

    @classmethod
    def of_field(cls, path: str, what: str, **facts: Any) -> InvalidArgument:
        """The error for the field at `path`, which message and violation name."""
        return cls(f"{path} {what}", violations=[Violation(path, what)], **facts)


class NotServed(FoveaError):
    """A field that this server does not implement: refused, never ignored."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "NOT_SERVED"

    def __init__(self, *fields: str) -> None:
        super().__init__(
            f"not served by this version: {', '.join(fields)}",
            violations=[Violation(f, "set, but not served by this version") for f in fields],
            fields=",".join(fields),
        )


class ContextTooLong(InvalidArgument):
    """Prompt and answer together exceed the context of a request.

    `max_pixels_that_fits` is the largest image size at which they would fit; 0 if there is none.
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
    """`max_new_tokens` exceeds the server's limit: refused, never clamped."""

    reason = "MAX_NEW_TOKENS_TOO_LARGE"

    def __init__(self, limit: int, max_new_tokens: int) -> None:
        super().__init__(
            f"max_new_tokens {max_new_tokens} is above this server's limit of {limit}",
            limit=limit,
            max_new_tokens=max_new_tokens,
        )


class ImagesMismatch(InvalidArgument):
    """The prompt refers to another number of images than were sent."""

    reason = "IMAGES_MISMATCH"

    def __init__(self, expected: int, received: int) -> None:
        super().__init__(
            f"the prompt has {expected} images, {received} were given",
            expected=expected,
            received=received,
        )


class TooManyImages(InvalidArgument):
    """More images than a request may have."""

    reason = "TOO_MANY_IMAGES"

    def __init__(self, limit: int, images: int) -> None:
        super().__init__(
            f"{images} images are more than this server's limit of {limit}",
            violations=[Violation("messages", f"more than {limit} images")],
            limit=limit,
            actual=images,
        )


class VisualBudgetExceeded(InvalidArgument):
    """The images cost more visual tokens than allowed, or cannot be shrunk enough.

    `fits` is the largest max_pixels at which they would fit; 0 if there is none.
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


class FormatTooCostly(InvalidArgument):
    """A response_format that exceeds a compilation limit: `what` is above `limit`.

    Without `actual` the excess is unknown.
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


class MessagesInvalid(InvalidArgument):
    """A conversation that cannot become a prompt; subclasses say why."""

    reason = "MESSAGES_INVALID"
    why: ClassVar[str] = "cannot become a prompt"

    def __init__(self, field: str) -> None:
        super().__init__(f"{field}: {self.why}", violations=[Violation(field, self.why)], field=field)


class MaxPixelsOutOfRange(InvalidArgument):
    """A max_pixels outside of the checkpoint's limits."""

    def __init__(self, field: str, least: int, most: int, actual: int) -> None:
        super().__init__(
            f"max_pixels {actual} is outside of {least} to {most}, the checkpoint's own limits",
            violations=[Violation(field, f"must be between {least} and {most}")],
            least=least,
            limit=most,
            actual=actual,
        )
