"""Image files as viewers show them: the conversion shared by the encoder, the clients and the command.

`opened` parses the structure of a file without decoding. `shown` decodes the first frame to upright pixels
without transparency. `Still.check_complete` refuses a file with missing pixels, which Pillow fills in
silently.
"""

from fovea.contract.errors import ImageCorrupt, ImageEmpty, ImageFormatNotSupported, ImageTooManyPixels
from fovea.images.opening import FORMATS, opened
from fovea.images.still import Drawn, Still, shown

__all__ = [
    "FORMATS",
    "Drawn",
    "ImageCorrupt",
    "ImageEmpty",
    "ImageFormatNotSupported",
    "ImageTooManyPixels",
    "Still",
    "opened",
    "shown",
]
