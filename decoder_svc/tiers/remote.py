"""Another decoder as a tier: it gets the request, and its receipt becomes part of this decoder's.

Images travel by id where the other decoder finds them, else as bytes. The tenant is named in the metadata,
which the other decoder honours from a caller of role `service`. Decoders that call each other in a circle
end, because each passes a lower `hop_limit` on. A decoder that does not answer opens a circuit breaker: until
it serves again, requests go on to the next tier at once, or fail at once, as the setting says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import structlog
from grpc import StatusCode
from pydantic import AfterValidator

from decoder_svc.admission import Work
from decoder_svc.budget.tariff import Spend, Tariff
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.refusal import RefusalInvalid, checked_refusal
from decoder_svc.prompt.messages import Part, TextPart, texts, tool_texts
from decoder_svc.receipt import Hop, RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.tiers.passing import pass_on
from decoder_svc.tiers.tier import Answers, Figure, Tier
from decoder_svc.tiers.values import Prices, Seconds
from fovea.access.channel import ClientCredentials
from fovea.access.files import CredentialFile
from fovea.access.tls import TlsFiles
from fovea.address import called, is_loopback
from fovea.breaker import Breaker
from fovea.client import AsyncClient, Image, Message
from fovea.client.messages import Options
from fovea.contract.answer import Event, Finished, Started
from fovea.contract.errors import CredentialsInvalid, FoveaError, NotReady, TierUnavailable
from fovea.contract.receipt import Price, Receipt, Totals
from fovea.deadline import Deadline
from fovea.geometry import Geometry
from fovea.server.access import TENANT_KEY

if TYPE_CHECKING:
    from decoder_svc.tiers.build import Parts

PROBE_S = 1.0
MAX_HOPS = 8
"""What a request without a `hop_limit` gets, so that decoders that call each other end."""
MOST_CONTEXT = 2**20
_REFUSED = (StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED)
log = structlog.get_logger()


@dataclass(frozen=True)
class DecoderTierSettings:
    """`tier` is the tier of the other decoder that must answer; empty lets it choose.

    `on_failure` says what becomes of a request that the other decoder does not answer: the next tier answers
    it, or it fails. After `silent_s` without a message the other decoder must answer a probe. `price`
    replaces the other decoder's prices.
    """

    address: Annotated[str, AfterValidator(called)]
    tier: str = ""
    on_failure: Literal["next", "fail"] = "next"
    silent_s: Seconds = 10.0
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str = ""
    token_file: Path | None = None
    price: Prices | None = None


class Silent(Exception):
    """A decoder gives no sign of life."""


class RemoteDecoder:
    """The client of another decoder, with its circuit breaker. Connects on the first call."""

    def __init__(self, address: str, credentials: ClientCredentials, silent_s: float) -> None:
        self.address = address
        self.breaker = Breaker(address, self.serves, "decoder")
        self._silent_s = silent_s
        self._credentials = credentials
        self._tls = credentials.tls()
        self._client = AsyncClient(address, tls=credentials)

    async def close(self) -> None:
        await self.breaker.close()
        await self._client.close()

    def client(self, timeout_s: float | None, tenant: str = "") -> AsyncClient:
        """A client that acts for a tenant; with a channel of its own after a change of the TLS files."""
        tls = self._credentials.tls()
        if tls is not self._tls:
            self._tls, self._client = tls, AsyncClient(self.address, tls=self._credentials)
        acting = ((TENANT_KEY, tenant),) if tenant else ()
        return self._client.calling(timeout_s, (*self._credentials.metadata(), *acting))

    async def serves(self) -> bool:
        """Whether it answers and takes requests."""
        with suppress(FoveaError):
            return (await self.client(PROBE_S).info()).state == "serving"
        return False

    async def watched(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """The events of a call, as long as the other decoder gives signs of life. Raises Silent."""
        async with aclosing(events):
            while True:
                following = asyncio.ensure_future(anext(events, None))
                try:
                    while not (await asyncio.wait({following}, timeout=self._silent_s))[0]:
                        if not await self.serves():
                            raise Silent
                    event = following.result()
                finally:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                if event is None:
                    return
                yield event


class DecoderTier(Tier):
    """Does not count against `hop_limit` here: the tiers of the other decoder do, in what it gets of it."""

    def __init__(
        self, name: str, chosen: DecoderTierSettings, remote: RemoteDecoder, geometry: Geometry, currency: str
    ) -> None:
        self.name = name
        self._chosen = chosen
        self._remote = remote
        self._geometry = geometry
        self._currency = currency
        self._tariff = chosen.price.tariff(currency) if chosen.price else None
        self._failures = 0

    async def close(self) -> None:
        await self._remote.close()

    async def answer(
        self,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]:
        """The answer of the other decoder. Once its first event has passed, a failure is the caller's."""
        reason = "hop_limit"
        if request.hop_limit != 1:
            begun = False
            try:
                async with aclosing(self._forwarded(request, deadline, used)) as events:
                    async for event in events:
                        begun = True
                        yield event
                return
            except FoveaError as error:
                if begun or deadline.passed or self._chosen.on_failure == "fail":
                    raise
                reason = error.reason
        hop = Hop(self.name, reason)
        async with aclosing(pass_on(hop, request, encoders, deadline, used, following)) as events:
            async for event in events:
                yield event

    async def _forwarded(
        self, request: ChatRequest, deadline: Deadline, used: RequestUsage
    ) -> AsyncGenerator[Event, None]:
        """The events of the other decoder's answer. Raises its refusals, and TierUnavailable."""
        if self._remote.breaker.open:
            raise TierUnavailable(self.name, "cannot be reached")
        await used.admit(self._most(request), self._currency)
        client = self._remote.client(deadline.timeout(), request.tenant)
        asked = client.stream(_messages(request), **self._options(request))
        try:
            async with aclosing(self._remote.watched(asked)) as events:
                async for event in events:
                    if isinstance(event, Started):
                        event = replace(event, request_id=request.id)
                        used.model = event.model
                    elif isinstance(event, Finished):
                        event = replace(event, receipt=self._noted(event, used))
                    yield event
        except FoveaError as error:
            raise self._failure(error) from error
        except Silent:
            raise self._lost("does not answer") from None

    def _options(self, request: ChatRequest) -> Options:
        return {
            "budget": request.budget,
            "sampling": request.sampling,
            "tier": self._chosen.tier,
            "hop_limit": (request.hop_limit or MAX_HOPS) - 1,
            "parent_request_id": request.id,
            "tools": request.tool_use.tools,
            "tool_choice": request.tool_use.choice,
            "parallel_tool_calls": request.tool_use.parallel,
            "thinking": request.thinking,
            "continue_final_message": request.continue_final,
        }

    def _noted(self, finished: Finished, used: RequestUsage) -> Receipt:
        """The receipt of the other decoder as that of an attempt here. Its tiers become part of the path."""
        receipt, path = finished.receipt, finished.receipt.tier
        reasons = path.reasons or (*[""] * (len(path.path) - 1), path.reason)
        used.hops += [Hop(f"{self.name}/{tier}", why) for tier, why in zip(path.path, reasons, strict=False)]
        if used.hops:
            used.tier = used.hops[-1].tier
        stages = replace(receipt.stages_ms, total=used.elapsed_ms())
        return replace(receipt, stages_ms=stages, price=self._price(receipt))

    def _price(self, receipt: Receipt) -> Price:
        """By this tier's prices, else as the other decoder says. Amounts of two currencies do not add up."""
        if self._tariff is not None:
            return self._tariff.price(receipt.totals, 0)
        if receipt.price.currency == self._currency:
            return receipt.price
        log.warning(
            "price_of_another_currency", tier=self.name, currency=receipt.price.currency, own=self._currency
        )
        return Price()

    def _failure(self, error: FoveaError) -> FoveaError:
        """What the caller gets: a refusal as it is; for everything else the tier is at fault."""
        if error.code in _REFUSED:
            log.error("decoder_refuses_this_decoder", decoder=self._remote.address, reason=error.reason)
            return TierUnavailable(self.name, "refuses the credentials of this decoder")
        if isinstance(error, NotReady):
            return self._lost("is not ready")
        if error.code is StatusCode.DEADLINE_EXCEEDED:
            return error
        if not error.received:
            return self._lost("cannot be reached")
        try:
            return checked_refusal(error)
        except RefusalInvalid:
            return TierUnavailable(self.name, "failed")

    def _lost(self, why: str) -> TierUnavailable:
        self._remote.breaker.trip()
        self._failures += 1
        return TierUnavailable(self.name, why)

    async def most(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> Spend:
        return self._most(request)

    def _most(self, request: ChatRequest) -> Spend:
        """An estimate: the other decoder knows its prompt and its prices, and checks its own quotas."""
        work = Work.of(request, self._geometry, MOST_CONTEXT)
        characters = sum(map(len, chain(texts(request.messages), tool_texts(request.tool_use.shown))))
        text_tokens = min(work.prompt_tokens, characters)
        totals = Totals(work.prompt_tokens - text_tokens, 0, text_tokens, 0, work.answer_tokens)
        return (self._tariff or Tariff(self._currency)).most(totals)

    @property
    def figures(self) -> Sequence[Figure]:
        return (
            Figure(
                "up", "1 while the decoder answers, else 0.", lambda: not self._remote.breaker.open, False
            ),
            Figure("failures", "Times the decoder was found not to answer.", lambda: self._failures),
        )


def _messages(request: ChatRequest) -> list[Message]:
    return [
        Message(
            m.role,  # type: ignore[arg-type]
            [_part(part, request) for part in m.parts],
            m.tool_calls,
            m.tool_call_id,
            m.reasoning,
        )
        for m in request.messages
    ]


def _part(part: Part, request: ChatRequest) -> str | Image:
    if isinstance(part, TextPart):
        return part.text
    image = request.images[part.index]
    return Image(image.digest if image.data is None else image.data, image.path)


def build_decoder_tier(name: str, chosen: DecoderTierSettings, parts: Parts) -> DecoderTier:
    """The tier, not connected. Raises CredentialsInvalid, which names the tier."""
    given = {key: getattr(chosen, key) for key in ("ca", "cert", "key", "token_file")}
    files = {
        key: CredentialFile(parts.folder / path, f"{key} of tier {name}")
        for key, path in given.items()
        if path
    }
    token = files.pop("token_file", None)
    if (chosen.cert is None) != (chosen.key is None) or (chosen.cert and not chosen.ca):
        raise CredentialsInvalid(f"tier {name}: cert, key and ca are given together")
    if token and not (chosen.ca or is_loopback(chosen.address) or parts.chosen.insecure):
        raise CredentialsInvalid(
            f"token_file of tier {name} would be sent unencrypted: it needs ca, or the setting insecure true"
        )
    credentials = ClientCredentials(TlsFiles(**files) if chosen.ca else None, token, chosen.server_name)
    remote = RemoteDecoder(chosen.address, credentials, chosen.silent_s)
    return DecoderTier(name, chosen, remote, parts.model.facts.geometry, parts.chosen.price_currency)
