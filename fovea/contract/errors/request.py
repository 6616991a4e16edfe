"""Requests that cannot succeed as sent."""

from __future__ import annotations

from typing import Any, ClassVar

from grpc import StatusCode

from fovea.contract.errors.base import FoveaError, TemplatedError, Violation


class InvalidArgument(FoveaError, code=StatusCode.INVALID_ARGUMENT, reason="INVALID_ARGUMENT"):
    """A request that can never succeed as sent."""

    @classmethod
    def of_field(cls, path: str, what: str, **facts: Any) -> InvalidArgument:
        """The error for the field at `path`, which message and violation name."""
        return cls(f"{path} {what}", violations=[Violation(path, what)], **facts)


class NotServed(FoveaError, code=StatusCode.UNIMPLEMENTED, reason="NOT_SERVED"):
    """A field that this server does not implement: refused, never ignored."""

    def __init__(self, *fields: str) -> None:
        super().__init__(
            f"not served by this version: {', '.join(fields)}",
            violations=[Violation(f, "set, but not served by this version") for f in fields],
            fields=",".join(fields),
        )


class ContextTooLong(TemplatedError, InvalidArgument, reason="CONTEXT_TOO_LONG"):
    """Prompt and answer together exceed the context of a request.

    `max_pixels_that_fits` is the largest image size at which they would fit; 0 if there is none.
    """

    text = (
        "{prompt_tokens} prompt tokens and up to {max_new_tokens} new ones exceed the context"
        " of {limit} tokens{advice}"
    )
    limit: int
    prompt_tokens: int
    max_new_tokens: int
    max_pixels_that_fits: int | None = None

    @property
    def advice(self) -> str:
        pixels = self.max_pixels_that_fits
        if pixels is None:
            return ""
        return f"; max_pixels {pixels} fits" if pixels else "; no max_pixels makes it fit"


class MaxNewTokensTooLarge(TemplatedError, InvalidArgument, reason="MAX_NEW_TOKENS_TOO_LARGE"):
    """`max_new_tokens` exceeds the server's limit: refused, never clamped."""

    text = "max_new_tokens {max_new_tokens} is above this server's limit of {limit}"
    limit: int
    max_new_tokens: int


class ImagesMismatch(InvalidArgument, reason="IMAGES_MISMATCH"):
    """The prompt refers to more or fewer images than were sent."""

    def __init__(self, expected: int, received: int) -> None:
        text = f"the prompt has {expected} images, {received} were given"
        super().__init__(text, expected=expected, received=received)


class TooManyImages(TemplatedError, InvalidArgument, reason="TOO_MANY_IMAGES"):
    """More images than a request may have."""

    text = "{images} images are more than this server's limit of {limit}"
    violation = "messages", "more than {limit} images"
    info = "limit={limit} actual={images}"
    limit: int
    images: int


class VisualBudgetExceeded(TemplatedError, InvalidArgument, reason="VISUAL_BUDGET_EXCEEDED"):
    """The images cost more visual tokens than allowed, or cannot be shrunk enough.

    `fits` is the largest max_pixels at which they would fit; 0 if there is none.
    """

    text = "the images cost {actual} visual tokens, the budget is {limit}; {advice}"
    violation = "visual.max_visual_tokens", "below {actual}; {advice}"
    limit: int
    actual: int
    fits: int

    @property
    def advice(self) -> str:
        return f"max_pixels {self.fits} fits" if self.fits else "no max_pixels makes them fit"


class FormatTooCostly(TemplatedError, InvalidArgument, reason="FORMAT_TOO_COSTLY"):
    """A response_format that exceeds a compilation limit: `what` is above `limit`.

    Without `actual` the excess is unknown.
    """

    text = "{field} costs too much: {what} is {cost}; the limit is {limit}"
    violation = "{field}", "{what} is {cost}; the limit is {limit}"
    info = "limit={limit} actual={cost}"
    field: str
    what: str
    limit: float
    actual: float | None = None

    @property
    def cost(self) -> str:
        return f"above {self.limit}" if self.actual is None else f"{self.actual}"


class MessagesInvalid(TemplatedError, InvalidArgument, reason="MESSAGES_INVALID"):
    """A conversation that cannot become a prompt; subclasses say why."""

    text = "{field}: {why}"
    violation = "{field}", "{why}"
    why: ClassVar[str] = "cannot become a prompt"
    field: str


class MaxPixelsOutOfRange(TemplatedError, InvalidArgument):
    """A max_pixels outside of the checkpoint's limits."""

    text = "max_pixels {actual} is outside of {least} to {most}, the checkpoint's own limits"
    violation = "{field}", "must be between {least} and {most}"
    info = "least={least} limit={most} actual={actual}"
    field: str
    least: int
    most: int
    actual: int


class TierUnknown(TemplatedError, InvalidArgument, reason="TIER_UNKNOWN"):
    """The request names a tier that the server does not have."""

    text = "there is no tier {tier}; this server has {known}"
    violation = "tier", "not one of {known}"
    tier: str
    known: str


class TierDidNotAnswer(TemplatedError, code=StatusCode.FAILED_PRECONDITION, reason="TIER_DID_NOT_ANSWER"):
    """A tier passed the request on, and `field` of the request forbids further tiers."""

    text = "tier {tier} did not answer ({why}), and {field} of the request allows no further tier"
    tier: str
    why: str
    field: str
