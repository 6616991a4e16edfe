"""Image files that the command reads itself, decoded as the encoder does; errors name the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.images import Still, opened, shown

if TYPE_CHECKING:
    from PIL import Image

    from fovea.client.sources import File


def read(file: File, name: str) -> Still:
    """The structure of an image file. Raises OSError, and the errors of `fovea.images` under its name."""
    from fovea.client.naming import naming_image
    from fovea.client.sources import content

    data = content(file)
    with naming_image(name):
        return opened(data)


def as_shown(file: File, name: str) -> Image.Image:
    """The image as a viewer shows it, on white."""
    from fovea.client.naming import naming_image

    still = read(file, name)
    with naming_image(name):
        return shown(still).image.convert("RGB")
