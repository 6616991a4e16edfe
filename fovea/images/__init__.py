"""Image files as viewers show them: the one conversion that the encoder, the clients and the command share.

`opened` reads the structure of a file and decodes nothing. `shown` decodes the first frame to upright pixels
without transparency. `Still.check_complete` refuses a file whose pixels are missing in part, which Pillow
fills in without a word.
"""

from fovea.contract.errors import ImageCorrupt, ImageEmpty, ImageFormatNotSupported, ImageTooManyPixels
from fovea.images.opening import FORMATS, opened
from fovea.images.still import Shown, Still, shown

__all__ = [
    "FORMATS",
    "ImageCorrupt",
    "ImageEmpty",
    "ImageFormatNotSupported",
    "ImageTooManyPixels",
    "Shown",
    "Still",
    "opened",
    "shown",
]
