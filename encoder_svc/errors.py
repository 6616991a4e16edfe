"""Failures of images and of the tower: a class per failure, with our own texts.

No text quotes a library: library messages expose addresses, paths and bytes. The library's exception stays as
`__cause__` for the log. Metadata has limits and values as `limit` and `actual`.
"""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors import InvalidArgument, TemplatedError


class RankingsBusy(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="ENCODER_BUSY"):
    """Too many images wait to be ranked. Retriable, like a full queue."""

    text = "{waiting} images wait to be ranked; at most {limit} may"
    info = "limit={limit} actual={waiting}"
    retry_after_s = 1.0
    waiting: int
    limit: int


class EncodeFailed(TemplatedError):
    """The tower could not compute this image, even alone."""

    text = "the vision tower could not compute the rows of this image"


class TowerFailed(TemplatedError, code=StatusCode.UNAVAILABLE, reason="ENGINE_FAILED"):
    """The tower has failed for every image: the device failed or its worker ended. The process must be
    restarted.
    """

    text = "the vision tower has failed and this encoder serves no new image"


class DecodingUnavailable(TemplatedError, code=StatusCode.UNAVAILABLE, reason="ENGINE_UNAVAILABLE"):
    """The process that starts workers for images has died twice, or is closing."""

    text = "the process that decodes images has died"
    retry_after_s = 1.0


class ReadingUnavailable(TemplatedError, code=StatusCode.UNAVAILABLE, reason="ENGINE_UNAVAILABLE"):
    """The process that starts the workers of the text reader has died twice, or is closing."""

    text = "the process that reads text has died"
    retry_after_s = 1.0


class TextReaderBusy(TemplatedError, code=StatusCode.RESOURCE_EXHAUSTED, reason="ENCODER_BUSY"):
    """Too many images wait to be read, or too many of one tenant. `field` is the limit's name."""

    text = "{actual} images wait for the reader of text; at most {limit} may"
    info = "field=max_text_queue limit={limit} actual={actual}"
    retry_after_s = 2.0
    actual: int
    limit: int


class SharedCacheNotCleared(TemplatedError, code=StatusCode.UNAVAILABLE, reason="STORE_FAILED"):
    """A server of the shared cache did not confirm a deletion. The store of this encoder is cleared."""

    text = "the shared cache did not confirm the deletion, and may still have rows"
    retry_after_s = 1.0


class DigestInvalid(TemplatedError, InvalidArgument):
    """A text that is not an image id; `field` is its place in the request."""

    text = "{field} must be sha256: and 64 lower-case hexadecimal digits"
    violation = "{field}", "must be sha256: and 64 lower-case hexadecimal digits"
    info = "actual={actual:.80}"
    actual: str
    field: str = "digest"


class ArenaOff(TemplatedError, code=StatusCode.UNIMPLEMENTED, reason="NOT_SERVED"):
    """This encoder does not serve rows in shared memory."""

    text = "this encoder has no arena: arena_bytes is 0, so ask for the rows with Encode"
