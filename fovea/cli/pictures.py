"""Image files that the command reads itself, decoded as the encoder does; errors name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fovea.contract.errors import FoveaError
from fovea.images import Still, opened, shown

if TYPE_CHECKING:
    from PIL import Image

    from fovea.client.sources import File


def read(file: File, name: str = "") -> Still:
    """The structure of an image file. Raises OSError, and the errors of `fovea.images` under its name."""
    from fovea.client.sources import content, name_of

    data = content(file)
    with _named(name or name_of(file)):
        return opened(data)


def as_shown(file: File, name: str = "") -> Image.Image:
    """The image as a viewer shows it, on white."""
    with _named(name):
        return shown(read(file)).image.convert("RGB")


@contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except FoveaError as error:
        if name and not error.image:
            error.name_image(name)
        raise
