"""When a tier applies: conditions on the request and on the kinds of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from decoder_svc.encoders.fleet import Fleet
from decoder_svc.images.prepare import gather_or_cancel, stored_image
from decoder_svc.request import ChatRequest, ImageInput
from fovea.contract.budget import Detail
from fovea.contract.errors import about_image
from fovea.contract.image import ImageFacts, ImageKind
from fovea.deadline import Deadline

KINDS = {kind.lower(): kind for kind in ImageKind if kind is not ImageKind.UNSPECIFIED}


def _kind(value: Any) -> ImageKind:
    if not isinstance(value, str) or value not in KINDS:
        raise ValueError(f"is not a kind of image; known are {', '.join(KINDS)}")
    return KINDS[value]


Kind = Annotated[ImageKind, BeforeValidator(_kind)]


@dataclass(frozen=True)
class When:
    """A request meets all conditions that are set.

    `kinds`: it has images, and all are of these kinds. `max_images`: it has no more images than that.
    `detail`: it asks for at most that much detail.
    """

    kinds: tuple[Kind, ...] = ()
    max_images: Annotated[int, Field(ge=0)] | None = None
    detail: Detail | None = None

    async def allows(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> bool:
        """The cheap conditions first: only `kinds` asks the encoders."""
        if self.max_images is not None and len(request.images) > self.max_images:
            return False
        if self.detail is not None and (request.budget.detail or Detail.HIGH).rank > self.detail.rank:
            return False
        return not self.kinds or await are_all(self.kinds, request, encoders, deadline)


ALWAYS = When()


async def are_all(
    kinds: tuple[ImageKind, ...], request: ChatRequest, encoders: Fleet, deadline: Deadline
) -> bool:
    """Whether the request has images and all of them are of these kinds."""
    facts = await image_facts(request, encoders, deadline)
    return bool(facts) and all(each.kind in kinds for each in facts)


async def image_facts(request: ChatRequest, encoders: Fleet, deadline: Deadline) -> tuple[ImageFacts, ...]:
    """The facts of every image; none if an image is given by its size only. Inline images are stored.

    Raises ImageNotStored and the other failures of an image.
    """
    if any(image.size is not None for image in request.images):
        return ()
    distinct = {image.digest: image for image in request.images}
    facts = await gather_or_cancel([_facts(image, encoders, deadline) for image in distinct.values()])
    by_digest = dict(zip(distinct, facts, strict=True))
    return tuple(by_digest[image.digest] for image in request.images)


async def _facts(image: ImageInput, encoders: Fleet, deadline: Deadline) -> ImageFacts:
    with about_image(image.path):
        return (await stored_image(image, encoders, deadline)).facts
