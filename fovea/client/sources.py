"""Converts whatever holds an image to a file: a path, or the bytes of a file.

Pixels in memory (Pillow, numpy) become a PNG, which is lossless. Sources that cannot be an image of a
request, such as a URL or a PDF, are refused with advice.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, Union

from fovea.contract.errors import ImageFormatNotSupported, InvalidArgument
from fovea.contract.ids import is_digest
from fovea.images.orientation import of_exif, turned

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image as Pillow

File: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, IO[bytes], "Pillow.Image", "NDArray[np.generic]"
]
"""A path, the bytes of a file, an open file, a Pillow image, or an array of pixels (RGB or grey, uint8)."""

MOST_BYTES = 256 * 1024 * 1024
"""Eight times the services' default limit."""

ACCEPTED = "a path, the bytes of a file, an open file, a Pillow image, a numpy array of uint8, or a stored id"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{256,}={0,2}\s*")
_PDF = b"%PDF-"
_PNG_MODES = frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"})
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA", "PA": "RGBA"}


class ImageSourceInvalid(InvalidArgument):
    """A value that can never be an image as it is. The message says what to do."""


class ImageFileTooLarge(ImageSourceInvalid):
    """A file above every service's limit, detected before it is read."""

    reason = "IMAGE_TOO_LARGE"

    def __init__(self, name: Path | str) -> None:
        super().__init__(
            f"{name} has more than {MOST_BYTES:,} bytes, the limit for an image", limit=MOST_BYTES
        )


class PdfIsNoImage(ImageSourceInvalid):
    """A PDF in place of an image. The reason is that of the services, which have no reader of PDFs."""

    reason = ImageFormatNotSupported.reason

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name or 'the file'} is a PDF, not an image: fovea.client.pdf.pages(...) draws its pages,"
            " and `fovea ask` does so by itself"
        )


def as_file(source: File) -> Path | bytes:
    """The path or the bytes. Raises ImageSourceInvalid, OSError, or TypeError for an unsupported type."""
    if isinstance(source, str | os.PathLike):
        return _checked(path_of(os.fspath(source)))
    data = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else _pixels(source)
    _refuse_vast(name_of(source) or "the image", len(data))
    return data


def content(source: File) -> bytes:
    """The bytes of the file. Raises like `as_file`."""
    file = as_file(source)
    if isinstance(file, bytes):
        return file
    with reading(file) as stream:
        return stream.read()


@contextmanager
def reading(path: Path) -> Iterator[IO[bytes]]:
    """The open file. Every failure is an OSError with the file's name."""
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError as error:
        # A typo and an unsupported source look alike.
        why = f"{error.strerror} (an image is {ACCEPTED}, or a list of these)"
        raise FileNotFoundError(error.errno, why, str(path)) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def name_of(source: Any) -> str:
    """The name in errors: the source's path, if any."""
    if isinstance(source, str | os.PathLike):
        return str(source)
    name = getattr(source, "name", None) or getattr(source, "filename", None)
    return name if isinstance(name, str) else ""


def is_source(value: object) -> bool:
    """Whether this is a single image rather than several."""
    plain = isinstance(value, str | os.PathLike | bytes | bytearray | memoryview)
    return plain or hasattr(value, "read") or hasattr(value, "__array_interface__")


def refuse_pdf(first_bytes: bytes, name: str) -> None:
    """Raises PdfIsNoImage if the bytes begin like a PDF."""
    if first_bytes.lstrip().startswith(_PDF):
        raise PdfIsNoImage(name)


def path_of(text: str) -> Path:
    """Raises ImageSourceInvalid for text that is commonly passed by mistake and is no path."""
    if _URL.match(text):
        raise ImageSourceInvalid(
            f"{text[:100]} is a URL, and Fovea does not fetch URLs: download the image and give its bytes"
        )
    if text[:5].lower() == "data:" or _BASE64.fullmatch(text):
        raise ImageSourceInvalid(
            "base64 text and data URLs are not accepted: decode it (base64.b64decode) and give the bytes"
        )
    if is_digest(text):
        raise ImageSourceInvalid(f"{text} is the id of a stored image: its file is needed here")
    if text.startswith("sha256:") and not Path(text).exists():
        raise ImageSourceInvalid(
            f"{text[:100]} is not an image id: an id is sha256: and 64 lower-case hexadecimal digits"
        )
    if not text or "\0" in text:
        raise ImageSourceInvalid(f"{text!r} is no path of a file")
    return Path(text)


def _checked(path: Path) -> Path | bytes:
    """Check the size, and read pipes at once, because an upload reads its file twice.

    Raises ImageFileTooLarge before an oversized file is read to its end.
    """
    try:
        status = path.stat()
    except OSError:
        return path  # opening it says why
    if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
        _refuse_vast(path, status.st_size)
        return path
    with reading(path) as stream:
        data = stream.read(MOST_BYTES + 1)
    _refuse_vast(path, len(data))
    return data


def _refuse_vast(name: Path | str, byte_size: int) -> None:
    if byte_size > MOST_BYTES:
        raise ImageFileTooLarge(name)


def _pixels(source: Any) -> bytes:
    from PIL import Image as Pillow

    if isinstance(source, Pillow.Image):
        return _png(source)
    if hasattr(source, "__array_interface__"):
        return _array(source)
    if hasattr(source, "read"):
        return _whole(source)
    raise TypeError(f"an image cannot be a {type(source).__name__}: give {ACCEPTED}")


def _whole(file: Any) -> bytes:
    """Read from the start: a BytesIO that was just written to is positioned at its end."""
    if callable(getattr(file, "seekable", None)) and file.seekable():
        file.seek(0)
    data = file.read()
    if not isinstance(data, bytes | bytearray):
        raise TypeError("an image was opened as text: open it as bytes, with mode 'rb'")
    return bytes(data)


def _png(image: Pillow.Image) -> bytes:
    image = turned(image, of_exif(image.info.get("exif") or b""))
    if image.mode == "I" and _within_16_bits(image):
        image = image.convert("I;16")
    elif image.mode not in _PNG_MODES:
        if image.mode.startswith(("F", "I")):
            raise TypeError(f"a Pillow image of mode {image.mode} has no known range: scale it to 8 bits")
        image = image.convert(_PREMULTIPLIED.get(image.mode, "RGB"))
    out = io.BytesIO()
    image.save(out, "PNG", exif=b"", icc_profile=None)
    return out.getvalue()


def _within_16_bits(image: Pillow.Image) -> bool:
    import numpy as np

    values = np.asarray(image)
    return bool(values.size and values.min() >= 0 and values.max() < 65_536)


def _array(array: Any) -> bytes:
    import numpy as np
    from PIL import Image as Pillow

    pixels = np.ascontiguousarray(array)
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 1 and pixels.dtype == np.uint8:
        return pixels.tobytes()  # a file, as cv2.imencode gives it
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    grey = pixels.ndim == 2 and pixels.dtype in (np.uint8, np.uint16)
    colour = pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.dtype == np.uint8
    if not (grey or colour) or 0 in pixels.shape:
        raise TypeError(
            f"an array of {array.dtype} and shape {tuple(array.shape)} is no image: give uint8 of shape"
            " (height, width), (height, width, 3) as RGB, or (height, width, 4) as RGBA"
        )
    return _png(Pillow.fromarray(pixels))
