"""The one form that every picture is brought to: RGB, upright, transparency laid on white.

Two files that a viewer shows alike come out alike, whatever their modes; what people see is what
the model sees. Colour profiles are not applied, and neither does the processor of Qwen3-VL.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112
_WHITE = (255, 255, 255)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image in mode RGB, and whether any of its pixels let the white through."""
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB"), False
    layered = image.convert("RGBA")
    alpha = layered.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return layered.convert("RGB"), False
    canvas = Image.new("RGB", image.size, _WHITE)
    canvas.paste(layered, mask=alpha)
    return canvas, True


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or none that makes sense.

    A viewer shows a picture with unreadable EXIF as it lies, and so do we.
    """
    try:
        value = image.getexif().get(_ORIENTATION)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit grey image as L, or LA where one grey is declared transparent.

    Pillow's own conversion clips: everything above 255 of 65,535 would be white.
    """
    values = np.asarray(image).astype(np.uint32)
    grey = Image.fromarray(((values * 255 + 32_767) // 65_535).astype(np.uint8))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey
