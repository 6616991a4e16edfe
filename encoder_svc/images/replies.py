"""What a worker answers about an image, as frames. The caller believes nothing of it unchecked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from encoder_svc.images.decode import Pixels
from encoder_svc.images.limits import ImageLimits
from fovea.contract import errors
from fovea.contract.errors import AspectTooExtreme, FoveaError, ImageInvalid
from fovea.contract.image import ImageFacts, ImageKind
from fovea.nursery.frames import FrameInvalid, Header

Value = TypeVar("Value")

_REFUSALS: dict[str, Callable[..., FoveaError]] = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ImageInvalid | AspectTooExtreme)
}


def refusal(error: FoveaError) -> dict[str, Any]:
    """The header about an image that `decode` refuses."""
    values = {field.name: getattr(error, field.name) for field in fields(error)}  # type: ignore[arg-type]
    return {"refused": type(error).__name__, "values": values}


class Reply(ABC, Generic[Value]):
    """A reply that is expected of a worker: where its raw bytes go, and its value."""

    task: ClassVar[str]

    def receive(self, header: Header, body_bytes: int) -> bytearray | memoryview:
        """The place of the raw bytes. Raises FrameInvalid."""
        if "refused" not in header:
            return self._place(header, body_bytes)
        if body_bytes:
            raise FrameInvalid("a refusal with raw bytes")
        return bytearray()

    def value(self, header: Header) -> Value:
        """The result. Raises FrameInvalid, or the error of a refused image."""
        if "refused" in header:
            raise _refused(header)
        return self._value(header)

    @abstractmethod
    def _place(self, header: Header, body_bytes: int) -> bytearray | memoryview: ...

    @abstractmethod
    def _value(self, header: Header) -> Value: ...


@dataclass
class FactsReply(Reply[ImageFacts]):
    """The facts of the image with this digest and size."""

    task = "facts"
    digest: str
    byte_size: int
    limits: ImageLimits

    def _place(self, header: Header, body_bytes: int) -> bytearray:
        if body_bytes:
            raise FrameInvalid("facts with raw bytes")
        return bytearray()

    def _value(self, header: Header) -> ImageFacts:
        try:
            values = header["facts"]
            facts = ImageFacts(**{**values, "kind": ImageKind(values["kind"])})
            possible = self._possible(facts)
        except (KeyError, TypeError, AttributeError, ValueError) as cause:
            raise FrameInvalid("facts that are none") from cause
        if not possible:
            raise FrameInvalid("facts that are not possible")
        _check_size(facts.width, facts.height, self.limits)
        return facts

    def _possible(self, facts: ImageFacts) -> bool:
        measures = facts.text_height, facts.edge_density, facts.uniform_share
        return (
            (facts.digest, facts.byte_size) == (self.digest, self.byte_size)
            and facts.format in self.limits.formats
            and facts.exif_orientation in range(1, 9)
            and isinstance(facts.had_alpha, bool)
            and len(bytes.fromhex(facts.pixel_digest.removeprefix("sha256:"))) == 32
            and all(0 <= measure <= self.limits.max_image_side for measure in measures)
            and 0 <= facts.kind_confidence <= 1
        )


@dataclass
class PixelsReply(Reply[Pixels]):
    """The pixels of an image."""

    task = "pixels"
    limits: ImageLimits
    _pixels: Pixels = field(default_factory=lambda: np.empty((0, 0, 3), np.uint8))

    def _place(self, header: Header, body_bytes: int) -> memoryview:
        width, height = header.get("width"), header.get("height")
        _check_size(width, height, self.limits)
        shape: Any = (height, width, 3)
        if body_bytes != shape[0] * shape[1] * 3:
            raise FrameInvalid(f"{body_bytes} bytes of {width}x{height} pixels")
        self._pixels = np.empty(shape, np.uint8)
        return self._pixels.data.cast("B")

    def _value(self, header: Header) -> Pixels:
        return self._pixels


def _refused(header: Header) -> FoveaError:
    try:
        values = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in header["values"].items()
        }
        return _REFUSALS[header["refused"]](**values)
    except (KeyError, TypeError, AttributeError, ValueError, ZeroDivisionError) as cause:
        raise FrameInvalid("a refusal that does not exist") from cause


def _check_size(width: object, height: object, limits: ImageLimits) -> None:
    sides = range(1, limits.max_image_side + 1)
    known = isinstance(width, int) and isinstance(height, int) and width in sides and height in sides
    if not known or width * height > limits.max_image_pixels:  # type: ignore[operator]
        raise FrameInvalid(f"an image of {width}x{height}")
