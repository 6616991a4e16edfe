"""Image files that the command reads itself, decoded as the encoder does; errors name the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.contract.errors import ImageCorrupt
from fovea.images import Still, opened
from fovea.images.orientation import SIDEWAYS

if TYPE_CHECKING:
    from PIL import Image

    from fovea.client.sources import File

READER = "fovea.image_reader"


def read(file: File, name: str) -> Still:
    """The structure of an image file. Raises OSError, and the errors of `fovea.images` under its name."""
    return _opened(file, name)[0]


def as_shown(file: File, name: str) -> Image.Image:
    """The image as a viewer shows it, on white. Also raises FileTooCostly: a child process decodes it."""
    from PIL import Image

    from fovea.client.isolated import isolated
    from fovea.client.naming import naming_image

    still, data = _opened(file, name)
    byte_count = still.width * still.height * 3
    with naming_image(name), isolated(READER, name) as reader:
        reply, pixels = reader.ask("shown", data, max_bytes=byte_count)
        if reply.get("corrupt") or len(pixels) != byte_count:
            raise ImageCorrupt(still.format)
    size = still.width, still.height
    return Image.frombytes("RGB", size[::-1] if still.orientation in SIDEWAYS else size, pixels)


def _opened(file: File, name: str) -> tuple[Still, bytes]:
    from fovea.client.naming import naming_image
    from fovea.client.sources import content

    data = content(file)
    with naming_image(name):
        return opened(data), data
