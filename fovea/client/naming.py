"""Failures of images under the names that the caller knows: a file name, or the place in the request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fovea.contract.errors import CALLERS, FoveaError


@contextmanager
def uploading(name: str) -> Iterator[None]:
    """Refusals of the file that is uploaded meanwhile name it."""
    try:
        yield
    except FoveaError as error:
        if name and not error.image and error.code in CALLERS:
            error.name_image(name)
        raise


@contextmanager
def asking(names: Mapping[str, str]) -> Iterator[None]:
    """Failures whose violation has the path of an image in the request name it; `names` are by that path."""
    try:
        yield
    except FoveaError as error:
        found = (names.get(_image(violation.field)) for violation in error.violations)
        if not error.image and (name := next(filter(None, found), "")):
            error.name_image(name)
        raise


def _image(field: str) -> str:
    """The path of the image that a field belongs to: that of `messages[0].parts[1].image.digest`."""
    path, dot, _ = field.partition(".image")
    return path + dot
