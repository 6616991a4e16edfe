"""Every failure that crosses the wire, one class per reason of `fovea.vision.v1.ErrorReason`."""

from fovea.contract.errors.access import CredentialsInvalid as CredentialsInvalid
from fovea.contract.errors.access import RoleNotAllowed as RoleNotAllowed
from fovea.contract.errors.access import TenantNotAllowed as TenantNotAllowed
from fovea.contract.errors.access import TokenMissing as TokenMissing
from fovea.contract.errors.access import TokenUnknown as TokenUnknown
from fovea.contract.errors.base import CALLERS as CALLERS
from fovea.contract.errors.base import DOMAIN as DOMAIN
from fovea.contract.errors.base import IMAGE_FIELDS as IMAGE_FIELDS
from fovea.contract.errors.base import FoveaError as FoveaError
from fovea.contract.errors.base import Violation as Violation
from fovea.contract.errors.base import about_image as about_image
from fovea.contract.errors.encoder import ArenaFull as ArenaFull
from fovea.contract.errors.encoder import EncoderBusy as EncoderBusy
from fovea.contract.errors.encoder import EncoderMismatch as EncoderMismatch
from fovea.contract.errors.encoder import EncoderUnavailable as EncoderUnavailable
from fovea.contract.errors.encoder import RowsMismatch as RowsMismatch
from fovea.contract.errors.encoder import RowsNotFinite as RowsNotFinite
from fovea.contract.errors.encoder import StoreClosed as StoreClosed
from fovea.contract.errors.encoder import StoreFailed as StoreFailed
from fovea.contract.errors.encoder import StoreForked as StoreForked
from fovea.contract.errors.encoder import StoreFull as StoreFull
from fovea.contract.errors.encoder import StoreInUse as StoreInUse
from fovea.contract.errors.engine import Aborted as Aborted
from fovea.contract.errors.engine import AnswerNotFinite as AnswerNotFinite
from fovea.contract.errors.engine import CheckpointNotSupported as CheckpointNotSupported
from fovea.contract.errors.engine import EngineBusy as EngineBusy
from fovea.contract.errors.engine import EngineFailed as EngineFailed
from fovea.contract.errors.engine import EngineOutOfMemory as EngineOutOfMemory
from fovea.contract.errors.engine import EngineUnavailable as EngineUnavailable
from fovea.contract.errors.engine import NotReady as NotReady
from fovea.contract.errors.image import SHRINK as SHRINK
from fovea.contract.errors.image import AspectTooExtreme as AspectTooExtreme
from fovea.contract.errors.image import DigestMismatch as DigestMismatch
from fovea.contract.errors.image import ImageCorrupt as ImageCorrupt
from fovea.contract.errors.image import ImageEmpty as ImageEmpty
from fovea.contract.errors.image import ImageFormatNotSupported as ImageFormatNotSupported
from fovea.contract.errors.image import ImageInvalid as ImageInvalid
from fovea.contract.errors.image import ImageNotStored as ImageNotStored
from fovea.contract.errors.image import ImageSideTooLong as ImageSideTooLong
from fovea.contract.errors.image import ImageTooLarge as ImageTooLarge
from fovea.contract.errors.image import ImageTooManyPixels as ImageTooManyPixels
from fovea.contract.errors.image import ImageTooManyScans as ImageTooManyScans
from fovea.contract.errors.image import SizeInvalid as SizeInvalid
from fovea.contract.errors.request import ContextTooLong as ContextTooLong
from fovea.contract.errors.request import FormatTooCostly as FormatTooCostly
from fovea.contract.errors.request import ImagesMismatch as ImagesMismatch
from fovea.contract.errors.request import InvalidArgument as InvalidArgument
from fovea.contract.errors.request import MaxNewTokensTooLarge as MaxNewTokensTooLarge
from fovea.contract.errors.request import MaxPixelsOutOfRange as MaxPixelsOutOfRange
from fovea.contract.errors.request import MessagesInvalid as MessagesInvalid
from fovea.contract.errors.request import NotServed as NotServed
from fovea.contract.errors.request import TooManyImages as TooManyImages
from fovea.contract.errors.request import VisualBudgetExceeded as VisualBudgetExceeded
from fovea.contract.errors.transport import AnswerIncomplete as AnswerIncomplete
from fovea.contract.errors.transport import CallIdle as CallIdle
from fovea.contract.errors.transport import DeadlineExceeded as DeadlineExceeded
from fovea.contract.errors.transport import Internal as Internal
from fovea.contract.errors.transport import MessageTooLarge as MessageTooLarge
from fovea.contract.errors.transport import RemoteError as RemoteError
from fovea.contract.errors.transport import Unreachable as Unreachable

BY_REASON: dict[str, type[FoveaError]] = {
    kind.reason: kind
    for kind in tuple(globals().values())
    if isinstance(kind, type)
    and issubclass(kind, FoveaError)
    and "reason" in vars(kind)
    and kind is not RemoteError
}
"""The class of each reason. An unknown reason becomes a `RemoteError`."""
