"""A second model in the decoder's process: it answers, and keeps its answer if it is confident enough.

The answer is buffered until its confidence is known. Below the calibrated threshold the request goes on to
the tiers that follow, and so does a request that this tier fails to answer. Without a calibration the tier
answers only requests that name it, which is how `fovea calibrate` asks it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationError

from decoder_svc.budget.tariff import Spend
from decoder_svc.encoders.fleet import Fleet
from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.errors import TierModelInvalid
from decoder_svc.receipt import Hop, RequestUsage
from decoder_svc.request import ChatRequest
from decoder_svc.settings import DecoderSettings
from decoder_svc.tiers.passing import pass_on
from decoder_svc.tiers.served import ServedModel, build_model
from decoder_svc.tiers.shadow import Shadow
from decoder_svc.tiers.tier import Answers, Figure, Tier
from decoder_svc.tiers.values import Prices
from fovea.address import called
from fovea.calibration.band import ErrorBand
from fovea.calibration.calibration import Calibration, load_calibration
from fovea.contract.answer import Event, Finished, FinishReason, Started, Text, joined
from fovea.contract.budget import Detail
from fovea.contract.errors import FoveaError
from fovea.deadline import Deadline
from fovea.fingerprint import checkpoint_digest

if TYPE_CHECKING:
    from decoder_svc.tiers.build import Parts

TIME_SHARE = 0.5
"""Share of the time to the deadline that this tier may take; the rest is for the tiers that follow."""


@dataclass
class BufferedAnswer:
    """An answer that the caller has not seen yet."""

    started: Started | None = None
    pieces: list[Text] = field(default_factory=list)
    finished: Finished | None = None

    def take(self, event: Event) -> None:
        if isinstance(event, Started):
            self.started = event
        elif isinstance(event, Text):
            self.pieces.append(event)
        else:
            self.finished = event

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)

    @property
    def logprobs(self) -> tuple[float, ...]:
        return tuple(value for piece in self.pieces for value in piece.logprobs)

    @property
    def is_cut(self) -> bool:
        """A model that repeats itself is confident of every token, up to the limit."""
        return self.finished is None or self.finished.finish_reason is not FinishReason.STOP


@dataclass(frozen=True)
class VisualLimit:
    """The most detail that this tier looks at; None is no limit of its own."""

    max_pixels: int | None = None
    detail: Detail | None = None

    def applied(self, request: ChatRequest, within: Callable[[int], int]) -> ChatRequest:
        """The request with a budget of at most this. `within` fits a size to the checkpoint's limits."""
        budget = request.budget
        pixels = [size for size in (budget.max_pixels, self.max_pixels) if size]
        details = [detail for detail in (budget.detail, self.detail) if detail]
        lowered = replace(
            budget,
            max_pixels=within(min(pixels)) if pixels else None,
            detail=min(details, key=lambda detail: detail.rank) if details else None,
        )
        return replace(request, budget=lowered)


NO_LIMIT = VisualLimit()


@dataclass(frozen=True)
class ModelTierSettings:
    """A model of this process beside the decoder's own. What is not set is as for the decoder's own model.

    Without `encoders` the tier reads the rows of the decoder's encoders, if both checkpoints have the same
    vision tower. `max_pixels` and `detail` bound what it sees of an image. `shadow_share` of the answers that
    it keeps are also answered by the tiers that follow. `on_failure` says what becomes of a request that it
    fails to answer. `kv_tokens` is never sized by the free memory, which is the decoder's own model's.
    """

    model: Path
    served_model_name: str = ""
    encoders: tuple[Annotated[str, AfterValidator(called)], ...] = ()
    calibration: Path | None = None
    price: Prices | None = None
    max_pixels: Annotated[int, Field(ge=1)] | None = None
    detail: Detail | None = None
    on_failure: Literal["next", "fail"] = "next"
    shadow_share: Annotated[float, Field(ge=0, le=1)] = 0.015
    engine: Literal["native", "vllm"] | None = None
    device: str | None = None
    dtype: Literal["auto", "fp32", "bf16", "fp16"] | None = None
    quantization: str | None = None
    max_context: Annotated[int, Field(ge=64)] | None = None
    max_running: Annotated[int, Field(ge=1)] | None = None
    kv_tokens: Annotated[int, Field(ge=1)] = 32_768

    @property
    def limit(self) -> VisualLimit:
        return VisualLimit(self.max_pixels, self.detail)

    def over(self, chosen: DecoderSettings, folder: Path) -> DecoderSettings:
        """The decoder's settings with those of this tier in their place. Raises ValidationError."""
        named = ("engine", "device", "dtype", "quantization", "max_context", "max_running")
        own: dict[str, Any] = {name: value for name in named if (value := getattr(self, name)) is not None}
        prices = vars(self.price) if self.price else {}
        own |= {f"price_per_million_{name}": value for name, value in prices.items()}
        own |= {"encoders": ",".join(self.encoders)} if self.encoders else {}
        own |= {
            "model": folder / self.model,
            "served_model_name": self.served_model_name,
            "fingerprint": "",
            "kv_tokens": max(self.kv_tokens, own.get("max_context", chosen.max_context)),
        }
        return chosen.changed(own)


class ModelTier(Tier):
    """`pool` holds the tier's own encoders; without one it reads the rows of the decoder's encoders."""

    computes: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        model: ServedModel,
        fingerprint: str = "",
        pool: EncoderPool | None = None,
        limit: VisualLimit = NO_LIMIT,
        calibration: Calibration | None = None,
        shadow: Shadow | None = None,
        fails: bool = False,
    ) -> None:
        """`fails`: a request that this tier fails to answer fails, and does not go on."""
        self.name = name
        self.model = model
        self.dummy = model.dummy
        self.fingerprint = fingerprint
        self.pool = pool
        self._limit = limit
        self._calibration = calibration
        self._shadow = shadow
        self._fails = fails

    async def close(self) -> None:
        if self._shadow is not None:
            await self._shadow.close()
        await super().close()

    async def answer(
        self,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]:
        if request.tier == self.name:
            answers = self._own(request, encoders, deadline, used)
        elif self._calibration is None or not request.is_plain:
            hop = Hop(
                self.name, "not calibrated" if self._calibration is None else "not calibrated for tools"
            )
            answers = pass_on(hop, request, encoders, deadline, used, following)
        else:
            answers = self._weighed(self._calibration, request, encoders, deadline, used, following)
        async with aclosing(answers) as events:
            async for event in events:
                yield event

    async def _weighed(
        self,
        calibration: Calibration,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
        following: Answers,
    ) -> AsyncGenerator[Event, None]:
        """The answer if it is confident enough, else that of the tiers that follow."""
        answer, reason = await self._attempt(calibration, request, encoders, deadline, used)
        if answer is None:
            hop = Hop(self.name, reason)
            async with aclosing(pass_on(hop, request, encoders, deadline, used, following)) as events:
                async for event in events:
                    yield event
            return
        used.hops.append(Hop(self.name, reason))
        if self._shadow is not None:
            self._shadow.consider(request, answer.text, following)
        for event in _as_wanted(answer, request):
            yield event

    async def _attempt(
        self,
        calibration: Calibration,
        request: ChatRequest,
        encoders: Fleet,
        deadline: Deadline,
        used: RequestUsage,
    ) -> tuple[BufferedAnswer | None, str]:
        """The answer, or None; and why."""
        buffered, own = BufferedAnswer(), deadline.share(TIME_SHARE)
        asked = replace(request, sampling=replace(request.sampling, logprobs=True))
        try:
            async with (
                asyncio.timeout(own.timeout()),
                aclosing(self._own(asked, encoders, own, used)) as events,
            ):
                async for event in events:
                    buffered.take(event)
        except TimeoutError:
            return None, "out of time"
        except FoveaError as error:
            if self._fails or deadline.passed:
                raise
            return None, error.reason
        if buffered.is_cut:
            return None, "cut at max_new_tokens"
        wanted = request.sampling.response_format
        confidence = calibration.confidence(buffered.text, buffered.logprobs, wanted)
        kept = confidence >= calibration.threshold
        why = f"confidence {confidence:.3f}, threshold {calibration.threshold:.3f}"
        return (buffered if kept else None), why

    async def _own(
        self, request: ChatRequest, encoders: Fleet, deadline: Deadline, used: RequestUsage
    ) -> AsyncGenerator[Event, None]:
        """The answer of this tier's model."""
        asked = self._limit.applied(request, self.model.facts.geometry.within)
        with self._fleet(request.tenant, encoders) as fleet:
            async with aclosing(self.model.answerer.answer(asked, fleet, deadline, used)) as events:
                async for event in events:
                    yield event

    @contextmanager
    def _fleet(self, tenant: str, encoders: Fleet) -> Iterator[Fleet]:
        if self.pool is None:
            yield encoders
            return
        with self.pool.held(tenant) as own:
            yield own

    async def most(self, request: ChatRequest, encoders: Fleet, deadline: Deadline) -> Spend:
        """Nothing if the tier will not be asked, or cannot prepare the request."""
        if (self._calibration is None or not request.is_plain) and request.tier != self.name:
            return Spend()
        asked = self._limit.applied(request, self.model.facts.geometry.within)
        with self._fleet(request.tenant, encoders) as fleet, suppress(FoveaError):
            return await self.model.answerer.most(asked, fleet, deadline)
        return Spend()

    @property
    def keeps(self) -> float | None:
        counts = self._calibration.counts if self._calibration else None
        return counts.kept / counts.questions if counts else None

    def forget(self, tenant: str, digest: str = "") -> None:
        self.model.answerer.forget(tenant, digest)
        if self.pool is not None:
            self.pool.forget(tenant, digest)

    @property
    def figures(self) -> Sequence[Figure]:
        load = self.model.answerer.load
        own = (
            Figure("running", "Requests that the tier computes.", lambda: load().running, total=False),
            Figure("waiting", "Requests that wait for the tier.", lambda: load().waiting, total=False),
            Figure("kv_blocks_used", "KV blocks in use.", lambda: load().kv_used_blocks, total=False),
            Figure("kv_blocks", "KV blocks in all.", lambda: load().kv_total_blocks, total=False),
        )
        return own if self._shadow is None else (*own, *self._shadow.figures)


def _as_wanted(answer: BufferedAnswer, request: ChatRequest) -> Iterator[Event]:
    """The events of a whole answer, with log-probabilities only if the caller wants them."""
    if answer.started is not None:
        yield answer.started
    text = joined(answer.pieces)
    if not request.sampling.logprobs:
        text = replace(text, logprobs=(), token_bytes=(), top_logprobs=())
    if text != Text(""):
        yield text
    if answer.finished is not None:
        yield answer.finished


def build_model_tier(name: str, chosen: ModelTierSettings, parts: Parts) -> ModelTier:
    """The tier, not started. Raises TierModelInvalid, CalibrationInvalid, or CheckpointNotSupported."""
    try:
        own = chosen.over(parts.chosen, parts.folder)
    except ValidationError as error:
        raise TierModelInvalid(name, error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    model = build_model(own, _unheard)
    pool = _pool(name, chosen, own, model, parts)
    fingerprint = fingerprint_of(own, chosen.limit)
    calibration = shadow = None
    if chosen.calibration is not None:
        calibration = load_calibration(parts.folder / chosen.calibration)
        calibration.check_made_for(fingerprint, parts.own.fingerprint)
        shadow = Shadow(name, chosen.shadow_share, ErrorBand(*calibration.silent_errors), parts.outlets)
    fails = chosen.on_failure == "fail"
    return ModelTier(name, model, fingerprint, pool, chosen.limit, calibration, shadow, fails)


def _unheard(loaded: int, total: int) -> None:
    """GetServerInfo reports the loading progress of the decoder's own model."""


def _pool(
    name: str, chosen: ModelTierSettings, own: DecoderSettings, model: ServedModel, parts: Parts
) -> EncoderPool | None:
    """The tier's own encoders; None if it reads the rows of the decoder's."""
    if chosen.encoders:
        fleet = Fleet({}, model.rows, own.encoders, copies=own.upload_copies)
        return EncoderPool(fleet, chosen.encoders, own.encoder_timeout_s, own.encoder_credentials())
    if model.rows != parts.model.rows:
        why = f"has another vision tower than the decoder's model ({model.rows}); it needs `encoders`"
        raise TierModelInvalid(name, why)
    return None


def fingerprint_of(chosen: DecoderSettings, limit: VisualLimit = NO_LIMIT) -> str:
    """A digest of what a model's answers depend on: the checkpoint, its quantization, and what it sees."""
    facts = [checkpoint_digest(chosen.model), chosen.quantization, limit.max_pixels, limit.detail]
    return f"sha256:{hashlib.sha256(repr(facts).encode()).hexdigest()}"
