"""Usage records of several tenants: heavy-tailed, in sessions and bursts, with or without an anomaly.

Tenants differ in their kinds of images, and in how often these are new, are hits, or end in answers that run
to the limit. Requests come in sessions about an image: the first request encodes it, the next ones hit it.
Now and then a session is a batch of new images of similar size, or asks questions with long answers. Sizes
are log-normal with a Pareto tail.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from fovea.contract.image import ImageKind
from fovea.contract.receipt import ImageReceipt, Receipt, Stages, Totals
from fovea.contract.rows import RowOrigin
from fovea.contract.usage import AnomalyKind, Outcome, UsageRecord

SHARES = (0.4, 0.3, 0.2, 0.1)
"""Of the requests, by tenant."""
KINDS = (ImageKind.PHOTO, ImageKind.TEXT, ImageKind.GRAPHIC)
TAIL, BATCH, LONG, PAIR, AGAIN = 0.05, 0.02, 0.05, 0.1, 0.5
"""Shares: images on the tail, sessions that are a batch, sessions with long answers, requests with a second
image, requests of the tenant that has just sent one.
"""
DEARER = 5


@dataclass(frozen=True)
class _Image:
    digest: str
    kind: ImageKind
    tokens: float


@dataclass
class _Session:
    image: _Image
    left: int
    is_batch: bool
    cut_share: float


@dataclass
class Tenant:
    """A tenant and its habits, drawn from `dice`. `planted` is its anomaly, from when it is set on."""

    name: str
    dice: random.Random
    planted: AnomalyKind | None = None
    _known: list[_Image] = field(default_factory=list)
    _stored: set[str] = field(default_factory=set)
    _session: _Session | None = None

    def __post_init__(self) -> None:
        dice = self.dice
        self._sizes = {kind: dice.uniform(3.5, 7.0) for kind in KINDS}
        self._kind_weights = [dice.uniform(0.2, 1.0) for _ in KINDS]
        self._new_share = dice.uniform(0.2, 0.7)
        self._hit_share = dice.uniform(0.75, 0.98)
        self._cut_share = dice.uniform(0.01, 0.2)
        self._length = dice.uniform(2.0, 4.0)

    def request(self, number: int) -> UsageRecord:
        if self._session is None or self._session.left == 0 or self.planted is AnomalyKind.NEW_IMAGES:
            self._session = self._begin()
        session = self._session
        if session.is_batch:
            session.image = self._new(session.image.kind, session.image.tokens * self._near())
        session.left -= 1
        images = [session.image]
        if self._known and self.dice.random() < PAIR:
            images.append(self.dice.choice(self._known))
        cut_share = 0.95 if self.planted is AnomalyKind.LENGTH else session.cut_share
        outcome = Outcome.LENGTH if self.dice.random() < cut_share else Outcome.OK
        receipt = Receipt(tuple(map(self._receipt, images)), Totals(), Stages())
        return UsageRecord(str(number), str(number), self.name, 0.0, "Generate", outcome, "m", receipt)

    def _begin(self) -> _Session:
        dice = self.dice
        kind = dice.choices(KINDS, self._kind_weights)[0]
        is_batch = dice.random() < BATCH
        is_new = not self._known or dice.random() < self._new_share or self.planted is AnomalyKind.NEW_IMAGES
        image = self._new(kind, self._size(kind)) if is_new or is_batch else dice.choice(self._known[-40:])
        length = dice.randint(3, 10) if is_batch else 1 + int(dice.expovariate(1 / (self._length - 1)))
        cut_share = 0.6 if dice.random() < LONG else self._cut_share
        return _Session(image, length, is_batch, cut_share)

    def _size(self, kind: ImageKind) -> float:
        tail = self.dice.paretovariate(1.2) if self.dice.random() < TAIL else 1
        return self.dice.lognormvariate(self._sizes[kind], 0.6) * tail

    def _near(self) -> float:
        return self.dice.lognormvariate(0, 0.2)

    def _new(self, kind: ImageKind, tokens: float) -> _Image:
        image = _Image(f"sha256:{self.dice.random()}", kind, tokens)
        self._known.append(image)
        return image

    def _receipt(self, image: _Image) -> ImageReceipt:
        hits = image.digest in self._stored and self.dice.random() < self._hit_share
        hits = hits and self.planted is not AnomalyKind.MISSES
        self._stored.add(image.digest)
        tokens = math.ceil(image.tokens * (DEARER if self.planted is AnomalyKind.COST else 1))
        return ImageReceipt(
            image.digest, (1, 1), (1, 1), (1, 2, 2), 4, 1, tokens,
            kind=image.kind, source=RowOrigin.STORE if hits else RowOrigin.ENCODED,
        )  # fmt: skip


class Traffic:
    """The requests of several tenants, in the order of their arrival."""

    def __init__(self, dice: random.Random) -> None:
        self.tenants = [Tenant(f"tenant {number}", dice) for number in range(len(SHARES))]
        self._dice = dice
        self._number = 0
        self._last = self.tenants[0]

    def calm(self, count: int) -> Iterator[UsageRecord]:
        return islice(self._requests(), count)

    def planted(self, tenant: Tenant, kind: AnomalyKind, count: int) -> Iterator[UsageRecord]:
        """Until the tenant has sent `count` requests with the anomaly."""
        tenant.planted = kind
        for record in self._requests():
            yield record
            count -= record.tenant == tenant.name
            if not count:
                return

    def _requests(self) -> Iterator[UsageRecord]:
        while True:
            if self._dice.random() >= AGAIN:
                self._last = self._dice.choices(self.tenants, SHARES)[0]
            self._number += 1
            yield self._last.request(self._number)
