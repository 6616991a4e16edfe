"""The protocol of a tier: answer a request, or pass it to the tiers that follow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from decoder_svc.budget.tariff import Spend
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.receipt import RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.timing import DummyEngine
from fovea.contract.answer import Event
from fovea.deadline import Deadline

Answers = Callable[[ChatRequest, Fleet, Deadline, RequestUsage], AsyncGenerator[Event, None]]
"""Yields Started, any number of Text, then Finished. Raises FoveaError on refusal or failure."""


@dataclass(frozen=True)
class Figure:
    """A number of a tier that the metrics read at each scrape; a counter if it is a `total`."""

    name: str
    text: str
    read: Callable[[], float]
    total: bool = True


class Tier(ABC):
    """A way to answer requests.

    A tier that answers by itself yields the events of its answer. A tier that does not notes why in
    `used.hops` and yields the events of `following`, before it has yielded any event of its own. It closes
    its own attempt first, so that `used.receipt` holds what the attempt has spent. A tier may change the
    request that it passes on, and may look at the events that pass.
    """

    name: str
    computes: ClassVar[bool] = False
    """Whether the tier runs a model. Only such tiers count against `hop_limit`."""
    dummy: DummyEngine | None = None
    """The tier's engine in this process, and dummy requests for it."""
    pool: EncoderPool | None = None
    """Encoders of the tier's own, beside those of the decoder's own model."""
    fingerprint: str = ""
    """What the answers of the tier's model depend on; a calibration is made for it."""

    @abstractmethod
    def answer(
        self,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]: ...

    async def start(self) -> None:
        """Load what the tier needs. Called once, before the decoder is ready."""
        if self.dummy is not None:
            await self.dummy.engine.start()
            await self.dummy.answer()

    async def close(self) -> None:
        """Release what the tier has taken."""
        if self.dummy is not None:
            await self.dummy.engine.close()
        if self.pool is not None:
            await self.pool.close()

    async def most(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> Spend:
        """The most that this tier by itself may spend on a request. A tier without a model spends nothing."""
        return Spend()

    async def time(self) -> float | None:
        """The seconds of a dummy request, measured now. None if there is nothing to measure here."""
        return await self.dummy.time() if self.dummy else None

    @property
    def keeps(self) -> float | None:
        """The share of requests that the tier answers itself, as calibrated; None if that is not known."""
        return None

    def forget(self, tenant: str, digest: str = "") -> None:
        """Drop what the tier keeps of an image of a tenant, or of all its images and answers."""

    @property
    def figures(self) -> Sequence[Figure]:
        """What the metrics show of the tier, beside the requests that it answered and passed on."""
        return ()
