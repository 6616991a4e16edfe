"""The images that tenants have sent, with what they cost."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fovea.contract.receipt import ImageReceipt

NEAR = 0.4
"""Difference of logarithms of tokens below which images of a kind are like pages of a document."""


class Sight(NamedTuple):
    """What an image cost in visual tokens when its tenant sent it last, and how many requests with images ago
    that was: 1 is the request before.
    """

    tokens: int
    age: int


class Sent(NamedTuple):
    """The images of a request: the last sight of each, None for a new image; and whether it asks again about
    an image of the request before, or brings another page.
    """

    seen: dict[str, Sight | None]
    asks_again: bool
    is_page: bool


@dataclass
class _Tenant:
    """The number of requests with images; of each image the tokens and its last request; the last request's
    new images as pages, by kind.
    """

    requests: int = 0
    images: OrderedDict[str, tuple[int, int]] = field(default_factory=OrderedDict)
    pages: dict[str, int] = field(default_factory=dict)


class KnownImages:
    """Image ids by tenant. A flood of images by a tenant makes none of another's new."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._count = 0
        self._tenants: defaultdict[str, _Tenant] = defaultdict(_Tenant)

    def add(self, tenant: str, images: Sequence[ImageReceipt]) -> Sent:
        """The images of a request, which are distinct. Above the capacity, the tenant with the most images
        loses its oldest.
        """
        own = self._tenants[tenant]
        own.requests += 1
        seen = {image.digest: self._add(own, image) for image in images}
        before = own.pages
        own.pages = {image.kind.value: image.tokens for image in images if seen[image.digest] is None}
        asks_again = any(sight is not None and sight.age == 1 for sight in seen.values())
        return Sent(seen, asks_again, any(_is_near(before.get(kind), own.pages[kind]) for kind in own.pages))

    def _add(self, own: _Tenant, image: ImageReceipt) -> Sight | None:
        before = own.images.get(image.digest)
        own.images[image.digest] = image.tokens, own.requests
        own.images.move_to_end(image.digest)
        self._count += before is None
        if self._count > self._capacity:
            most = max(self._tenants.values(), key=lambda each: len(each.images))
            most.images.popitem(last=False)
            self._count -= 1
        return None if before is None else Sight(before[0], own.requests - before[1])


def _is_near(before: int | None, tokens: int) -> bool:
    return before is not None and abs(math.log(tokens / before)) < NEAR
