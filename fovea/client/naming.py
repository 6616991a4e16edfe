"""Names images in errors as the caller knows them: by file name, or by path in the request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fovea.contract.errors import CALLERS, FoveaError


@contextmanager
def naming_image(name: str) -> Iterator[None]:
    """Name the image in errors of the block that the caller caused."""
    try:
        yield
    except FoveaError as error:
        if name and not error.image and error.code in CALLERS:
            error.name_image(name)
        raise


@contextmanager
def asking(names: Mapping[str, str]) -> Iterator[None]:
    """Name the image in errors with a violation at its path; `names` is keyed by that path."""
    try:
        yield
    except FoveaError as error:
        matches = (names.get(_image(violation.field)) for violation in error.violations)
        if not error.image and (name := next(filter(None, matches), "")):
            error.name_image(name)
        raise


def _image(field: str) -> str:
    """The image's part of a field path, such as `messages[0].parts[1].image.digest`."""
    path, dot, _ = field.partition(".image")
    return path + dot
