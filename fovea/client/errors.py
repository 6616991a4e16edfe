"""Why a call failed: one exception for each reason of `fovea.vision.v1.ErrorReason`, named after it.

    try:
        client.ask("What is the title?", [digest])
    except errors.ImageNotStored:
        client.put("chart.png")

Each keeps what the server sent: `code`, `reason`, `message`, `metadata`, `violations`, `retry_after_s` (None
where it is no use to come back) and `request_id`. A reason that this version does not know is a
`RemoteError`, and all are `fovea.contract.errors.FoveaError`. The services raise classes of their own, which
know how to explain themselves; these here only name what has arrived. The reasons that only the command
makes are in `fovea.cli.errors`.
"""

from __future__ import annotations

import re
from typing import Any

from grpc import StatusCode as Code

from fovea.contract.remote import RemoteError as RemoteError

BY_REASON: dict[str, type[RemoteError]] = {}
"""Every class below by its reason."""


class _Reason(RemoteError):
    """A class below: its reason is its name, `ImageNotStored` for IMAGE_NOT_STORED, unless it is given."""

    def __init_subclass__(cls, code: Any, reason: str = "") -> None:
        super().__init_subclass__()
        cls.code = code
        cls.reason = reason or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).upper()
        BY_REASON[cls.reason] = cls


class Internal(_Reason, code=Code.INTERNAL):
    """A defect of the server. The request id finds the line in its log."""


class InvalidArgument(_Reason, code=Code.INVALID_ARGUMENT):
    """A field is wrong; the violations say which."""


class NotServed(_Reason, code=Code.UNIMPLEMENTED):
    """A field is set that the server does not act on; the violations say which."""


class ImageNotStored(_Reason, code=Code.NOT_FOUND):
    """No image with this id is stored, or no longer. Upload it again."""


class ImageEmpty(_Reason, code=Code.INVALID_ARGUMENT):
    """An image of no bytes."""


class ImageCorrupt(_Reason, code=Code.INVALID_ARGUMENT):
    """The bytes cannot be decoded: damaged, or cut off."""


class ImageFormatNotSupported(_Reason, code=Code.INVALID_ARGUMENT):
    """Not a JPEG, PNG, WebP or GIF."""


class ImageTooLarge(_Reason, code=Code.INVALID_ARGUMENT):
    """More bytes than an image may have."""


class ImageTooManyPixels(_Reason, code=Code.INVALID_ARGUMENT):
    """More pixels than an image may have. `fit` helps."""


class ImageSideTooLong(_Reason, code=Code.INVALID_ARGUMENT):
    """A side is longer than allowed. `fit` helps."""


class ImageAspectTooExtreme(_Reason, code=Code.INVALID_ARGUMENT):
    """One side is more than 200 times the other."""


class ImageTooManyScans(_Reason, code=Code.INVALID_ARGUMENT):
    """A JPEG with more scans than allowed."""


class DigestMismatch(_Reason, code=Code.INVALID_ARGUMENT):
    """The bytes do not have the digest that was announced: the file changed while it was read."""


class ContextTooLong(_Reason, code=Code.INVALID_ARGUMENT):
    """Prompt and answer do not fit the context; `metadata` names the largest max_pixels that fits."""


class VisualBudgetExceeded(_Reason, code=Code.INVALID_ARGUMENT):
    """The images cost more than the budget. `metadata` has as `fits` the max_pixels at which they would not;
    0 where they always do."""


class FormatTooCostly(_Reason, code=Code.INVALID_ARGUMENT):
    """Compiling the form of the answer takes more than the server spends on one."""


class MaxNewTokensTooLarge(_Reason, code=Code.INVALID_ARGUMENT):
    """max_new_tokens is above the server's cap."""


class TooManyImages(_Reason, code=Code.INVALID_ARGUMENT):
    """More images than a request may have."""


class EncoderBusy(_Reason, code=Code.RESOURCE_EXHAUSTED):
    """The encoder's queue is full. Come back after `retry_after_s`."""


class EngineBusy(_Reason, code=Code.RESOURCE_EXHAUSTED):
    """The engine's queue is full. Come back after `retry_after_s`."""


class EncoderUnavailable(_Reason, code=Code.UNAVAILABLE):
    """The decoder could reach no encoder. Come back after `retry_after_s`."""


class EncoderMismatch(_Reason, code=Code.FAILED_PRECONDITION):
    """The encoder serves another model than the decoder, or than the one that was asked for."""


class RowsMismatch(_Reason, code=Code.DATA_LOSS):
    """Rows are not what their header announced: wrong count, order, length, checksum or digest."""


class CheckpointNotSupported(_Reason, code=Code.FAILED_PRECONDITION):
    """The server's checkpoint is not one that Fovea serves."""


class NotReady(_Reason, code=Code.UNAVAILABLE):
    """The model is still loading. Come back after `retry_after_s`."""


class EngineFailed(_Reason, code=Code.UNAVAILABLE):
    """The engine has died; the server is going down."""


class DeadlineExceeded(_Reason, code=Code.DEADLINE_EXCEEDED):
    """The client's `timeout_s` passed before the work was done."""


class Aborted(_Reason, code=Code.CANCELLED):
    """The request was ended from outside."""


class MessagesInvalid(_Reason, code=Code.INVALID_ARGUMENT):
    """The messages of a request do not make a conversation."""


class StoreInUse(_Reason, code=Code.FAILED_PRECONDITION):
    """Another process holds the store's directory."""


class ImagesMismatch(_Reason, code=Code.INVALID_ARGUMENT):
    """The prompt speaks of another number of images than there are."""


class EngineUnavailable(_Reason, code=Code.UNAVAILABLE):
    """The engine is not running."""


class StoreFull(_Reason, code=Code.RESOURCE_EXHAUSTED):
    """The image could not be kept: the disk refuses, or it is larger than the whole store."""


class ArenaFull(_Reason, code=Code.RESOURCE_EXHAUSTED):
    """The encoder's shared memory has no room for rows beside those that are leased: `encode` answers."""


class RowsNotFinite(_Reason, code=Code.DATA_LOSS):
    """A visual row holds NaN or infinity, or a value beyond the range of the model's dtype."""


class AnswerNotFinite(_Reason, code=Code.INTERNAL):
    """The model computed NaN or infinity for this request. Other requests are not affected."""


class EngineOutOfMemory(_Reason, code=Code.RESOURCE_EXHAUSTED):
    """A step of this request alone needs more memory than there is. A shorter prompt may fit."""


class StoreFailed(_Reason, code=Code.UNAVAILABLE):
    """The encoder's store refuses to be read, counted or cleared."""


class StoreClosed(_Reason, code=Code.UNAVAILABLE):
    """The encoder is shutting down and its store is closed."""


class StoreForked(_Reason, code=Code.INTERNAL):
    """A defect of the server: its store was used in a forked process."""


class Unreachable(_Reason, code=Code.UNAVAILABLE, reason="UNAVAILABLE"):
    """Nobody answers at the address, or the connection was lost. `metadata` has the address."""


class CallIdle(_Reason, code=Code.ABORTED):
    """The caller did not send, or did not read, a message for longer than the server holds a call open."""


class MessageTooLarge(_Reason, code=Code.RESOURCE_EXHAUSTED):
    """A message is larger than one side receives."""


class AnswerIncomplete(_Reason, code=Code.INTERNAL):
    """A stream ended well but without its closing message: the other side is no Fovea decoder."""
