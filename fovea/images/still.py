"""A still picture: the first frame of a file, before and after it is decoded."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from fovea.contract.errors import FoveaError, ImageCorrupt
from fovea.images import orientation

# Callers have limits far below the size at which Pillow warns, and the warning would reach nobody but the
# log.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Drawn:
    """Pixels as they lie in the file, in mode L or RGB: transparency is laid on white. `had_alpha` says
    whether any pixel let the white through.
    """

    image: Image.Image
    had_alpha: bool


@dataclass(frozen=True)
class Shown:
    """What a viewer shows: upright, in mode L where the file is grey, else RGB."""

    image: Image.Image
    format: str
    orientation: int
    had_alpha: bool


class Still(Protocol):
    """A file whose structure was read. Metadata that viewers ignore is gone, so it cannot fail the
    decoder.
    """

    @property
    def format(self) -> str: ...

    @property
    def width(self) -> int:
        """As the picture lies in the file."""
        ...

    @property
    def height(self) -> int: ...

    @property
    def orientation(self) -> int:
        """1 to 8."""
        ...

    def check_complete(self) -> None:
        """Raises ImageCorrupt where pixels are missing. Decodes what it needs for that."""
        ...

    def draw(self) -> Drawn:
        """Decode. Raises ImageCorrupt, or what Pillow raises within `guarded`."""
        ...


def shown(still: Still) -> Shown:
    """Decode a picture. Raises ImageCorrupt."""
    with guarded(still.format):
        drawn = still.draw()
        upright = orientation.turned(drawn.image, still.orientation)
    return Shown(upright, still.format, still.orientation, drawn.had_alpha)


@contextmanager
def guarded(format: str) -> Iterator[None]:
    """Turns whatever Pillow raises into ImageCorrupt.

    Pillow answers damaged files with OSError, SyntaxError, struct.error, ValueError, IndexError and more,
    and its texts hold memory addresses. Only calls into Pillow belong inside, so that none of our own
    defects hides here.
    """
    try:
        yield
    except (FoveaError, MemoryError):
        raise
    except Exception as error:
        raise ImageCorrupt(format) from error


def loaded(data: bytes, format: str) -> Image.Image:
    """The first frame of a file, decoded by Pillow."""
    with guarded(format), Image.open(io.BytesIO(data), formats=(format,)) as image:
        image.load()
        return image


def flat(image: Image.Image) -> Drawn:
    """Grey where it is grey, else RGB; on white, in eight bits."""
    if image.mode.startswith("I"):
        image = eight_bits(np.asarray(image))
    if not image.has_transparency_data:
        return Drawn(image.convert("L" if image.mode in ("1", "L") else "RGB"), False)
    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return Drawn(layered.convert("RGB"), False)
    canvas = Image.new("RGB", image.size, _WHITE)
    canvas.paste(layered, mask=alpha)
    return Drawn(canvas, True)


def eight_bits(values: npt.NDArray[np.generic]) -> Image.Image:
    """16-bit grey as L, rounded. Pillow's own conversion clips: all above 255 of 65,535 would be white."""
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32_767) // 65_535).astype(np.uint8))


def whitened(image: Image.Image, through: npt.NDArray[np.bool_]) -> Drawn:
    """An L or RGB image with white where `through` holds."""
    if not through.any():
        return Drawn(image, False)
    pixels = np.array(image)
    pixels[through] = 255
    return Drawn(Image.fromarray(pixels), True)
