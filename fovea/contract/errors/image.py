"""Images that cannot be served. Texts are fixed: they never quote a library or the bytes."""

from __future__ import annotations

from grpc import StatusCode

from fovea.contract.errors.base import TemplatedError
from fovea.contract.errors.request import InvalidArgument

SHRINK = "shrink it first, for example with `fit` of a client or `fovea ask --fit`"


class ImageInvalid(TemplatedError, InvalidArgument):
    """An image that cannot be served as it is. `data` is the upload field with its bytes."""


class ImageEmpty(ImageInvalid, reason="IMAGE_EMPTY"):
    text = "the image has no bytes"
    violation = "data", "empty"


class ImageCorrupt(ImageInvalid, reason="IMAGE_CORRUPT"):
    """The image is damaged or lacks pixels."""

    text = "the {format} image cannot be decoded: it is damaged or cut off"
    violation = "data", "damaged or cut off"
    format: str


class ImageFormatNotSupported(ImageInvalid, reason="IMAGE_FORMAT_NOT_SUPPORTED"):
    """`looks_like` is a guess from the first bytes, `advice` the fix; both may be empty."""

    text = "the bytes are not an image of a supported format ({names}){guess}"
    violation = "data", "not one of {names}"
    formats: tuple[str, ...]
    looks_like: str = ""
    advice: str = ""

    @property
    def names(self) -> str:
        return ", ".join(self.formats)

    @property
    def guess(self) -> str:
        return f"; they look like {self.looks_like}: {self.advice}" if self.looks_like else ""

    def _metadata(self) -> dict[str, str]:
        guess = {"looks_like": self.looks_like} if self.looks_like else {}
        return {"supported": ",".join(self.formats), **guess}


class ImageTooLarge(ImageInvalid, reason="IMAGE_TOO_LARGE"):
    text = "the image has {actual} bytes; at most {limit} are allowed: " + SHRINK
    violation = "data", "more than {limit} bytes"
    info = "limit={limit} actual={actual}"
    actual: int
    limit: int


class ImageTooManyPixels(ImageInvalid, reason="IMAGE_TOO_MANY_PIXELS"):
    """`width` and `height` are 0 if the file was refused before its size was known."""

    text = "the image has {actual} pixels or more; at most {limit} are allowed: " + SHRINK
    violation = "data", "more than {limit} pixels"
    info = "width={width} height={height} limit={limit} actual={actual}"
    width: int
    height: int
    actual: int
    limit: int


class ImageSideTooLong(ImageInvalid, reason="IMAGE_SIDE_TOO_LONG"):
    text = "the image is {width}x{height}; a side may have at most {limit} pixels: " + SHRINK
    violation = "data", "a side above {limit} pixels"
    info = "width={width} height={height} limit={limit} actual={longer_side}"
    width: int
    height: int
    limit: int

    @property
    def longer_side(self) -> int:
        return max(self.width, self.height)


class ImageTooManyScans(ImageInvalid, reason="IMAGE_TOO_MANY_SCANS"):
    """A progressive JPEG whose scans take seconds to decode; pixel limits do not catch it."""

    text = "the JPEG has {actual} scans or more; at most {limit} are allowed"
    violation = "data", "more than {limit} scans"
    info = "limit={limit} actual={actual}"
    actual: int
    limit: int


class ImageTooCostly(ImageInvalid, reason="IMAGE_TOO_COSTLY"):
    """Decoding the image takes more time or memory than allowed. `deaths` counts the workers it ended."""

    text = (
        "decoding the image takes more than {limit:g} {what}, and has ended {deaths} of the decoder's workers"
    )
    violation = "data", "more than {limit:g} {what} to decode"
    what: str
    limit: float
    deaths: int

    def _metadata(self) -> dict[str, str]:
        above = f"above {self.limit:g}"
        return {"what": self.what, "limit": f"{self.limit:g}", "actual": above, "deaths": str(self.deaths)}


class ImageCrashesDecoder(ImageInvalid, reason="IMAGE_CRASHES_DECODER"):
    """Decoding the image has ended workers by a signal that no limit explains."""

    text = "decoding the image has crashed {deaths} of the decoder's workers"
    violation = "data", "crashes the decoder"
    deaths: int


class SizeInvalid(InvalidArgument):
    """An impossible width, height or pixel limit."""


class AspectTooExtreme(TemplatedError, InvalidArgument, reason="IMAGE_ASPECT_TOO_EXTREME"):
    """The sides differ by a factor above 200: the model's processor refuses it, and so do we."""

    text = "the image is {width}x{height}: one side may be at most {limit:g} times the other"
    violation = "{longer_side}", "aspect above {limit:g}"
    info = "width={width} height={height} limit={limit:g} actual={aspect:.1f}"
    width: int
    height: int
    limit: float

    @property
    def longer_side(self) -> str:
        return "width" if self.width > self.height else "height"

    @property
    def aspect(self) -> float:
        return max(self.width, self.height) / min(self.width, self.height)


class ImageNotStored(TemplatedError, code=StatusCode.NOT_FOUND, reason="IMAGE_NOT_STORED"):
    text = "no image {digest} is stored here, or no longer: upload it again"
    digest: str


class DigestMismatch(TemplatedError, InvalidArgument, reason="DIGEST_MISMATCH"):
    """The bytes do not have the digest that the upload header announced."""

    text = "the bytes have the digest {actual}, not the announced {announced}"
    violation = "header.digest", "not the digest of the bytes"
    announced: str
    actual: str


class TextReaderMissing(TemplatedError, code=StatusCode.FAILED_PRECONDITION, reason="TEXT_READER_MISSING"):
    """The setting `text_reader` names a reader that is not installed, or none. `why` says what is missing."""

    text = "no text is read here: {why}"
    info = "reader={reader}"
    reader: str
    why: str


class TextNotFound(TemplatedError, code=StatusCode.NOT_FOUND, reason="TEXT_NOT_FOUND"):
    """The image was read and shows no text."""

    text = "the image {digest} shows no text"
    digest: str


class TextTooCostly(ImageInvalid, reason="TEXT_TOO_COSTLY"):
    """Reading the text takes more time or memory than allowed, or the text is longer than allowed."""

    text = "reading the text of the image takes more than {limit:g} {what}"
    violation = "digest", "more than {limit:g} {what} to read"
    what: str
    limit: float

    def _metadata(self) -> dict[str, str]:
        return {"what": self.what, "limit": f"{self.limit:g}", "actual": f"above {self.limit:g}"}


class TextReaderCrashed(ImageInvalid, reason="TEXT_READER_CRASHED"):
    """Reading the text has ended workers by a signal that no limit explains."""

    text = "reading the text of the image has crashed {deaths} of the reader's workers"
    violation = "digest", "crashes the reader of text"
    deaths: int
