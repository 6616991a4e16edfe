"""A still image: the first frame of a file, before and after decoding."""

from __future__ import annotations

import io
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from fovea.contract.errors import FoveaError, ImageCorrupt
from fovea.images import orientation

# Callers' limits are far below the size at which Pillow warns, and the warning would only reach the log.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Drawn:
    """Decoded pixels in mode L if the file is grey, otherwise RGB, with transparency composited on white.

    `had_alpha` says whether any pixel was transparent.
    """

    image: Image.Image
    had_alpha: bool


@dataclass(frozen=True)
class Still(ABC):
    """A file whose structure was parsed. `width` and `height` are as stored, before `orientation` (1 to 8).

    Metadata that viewers ignore is removed, so it cannot fail the decoder.
    """

    format: ClassVar[str]
    width: int
    height: int
    orientation: int

    @abstractmethod
    def check_complete(self) -> None:
        """Raises ImageCorrupt if pixels are missing. Decodes as much as that needs."""

    @abstractmethod
    def draw(self) -> Drawn:
        """Decode, as stored. Raises ImageCorrupt, or what Pillow raises within `guarded`."""


def shown(still: Still) -> Drawn:
    """Decode an image and turn it upright. Raises ImageCorrupt."""
    with guarded(still.format):
        drawn = still.draw()
        return replace(drawn, image=orientation.turned(drawn.image, still.orientation))


@contextmanager
def guarded(format: str) -> Iterator[None]:
    """Convert whatever Pillow raises to ImageCorrupt.

    Pillow raises OSError, SyntaxError, struct.error, ValueError, IndexError and more for damaged files, and
    its texts contain memory addresses. Only Pillow calls belong inside, so that our own bugs are not hidden.
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
    """L if the image is grey, otherwise RGB; composited on white, with 8 bits."""
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
    """16-bit grey as L, rounded. Pillow's conversion clips: all above 255 of 65,535 would be white."""
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32_767) // 65_535).astype(np.uint8))


def whitened(image: Image.Image, transparent: npt.NDArray[np.bool_]) -> Drawn:
    """An L or RGB image with white where the mask `transparent` is set."""
    if not transparent.any():
        return Drawn(image, False)
    pixels = np.array(image)
    pixels[transparent] = 255
    return Drawn(Image.fromarray(pixels), True)
