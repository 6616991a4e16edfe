"""Builds the tiers of a decoder from its tiers file, and refuses tiers that cost more than they save.

A kind of tier is a row of KINDS: the dataclass of its settings, and what builds the tier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from decoder_svc.encoders.pool import EncoderPool
from decoder_svc.errors import TierBelowBreakEven
from decoder_svc.settings import DecoderSettings
from decoder_svc.tiers.blank import BlankSettings, BlankTier
from decoder_svc.tiers.exact import ExactSettings, ExactTier
from decoder_svc.tiers.file import Entry
from decoder_svc.tiers.model import ModelTierSettings, build_model_tier, fingerprint_of
from decoder_svc.tiers.own import OwnModel
from decoder_svc.tiers.remote import DecoderTierSettings, build_decoder_tier
from decoder_svc.tiers.router import Step
from decoder_svc.tiers.served import ServedModel
from decoder_svc.tiers.shadow import ShadowOutlets
from decoder_svc.tiers.text import TextSettings, TextTier
from decoder_svc.tiers.tier import Tier

log = structlog.get_logger()


@dataclass(frozen=True)
class Parts:
    """What builders may use of the decoder: its settings, its encoders, its own model.

    `folder` is that of the tiers file, to which paths in the file are relative.
    """

    chosen: DecoderSettings
    folder: Path
    pool: EncoderPool
    model: ServedModel
    own: OwnModel
    outlets: ShadowOutlets


@dataclass(frozen=True)
class Kind:
    """How a kind of tier is set and built: `build` takes the tier's name, its settings and the parts."""

    settings: type
    build: Callable[[str, Any, Parts], Tier]


KINDS: Mapping[str, Kind] = {
    "exact": Kind(ExactSettings, lambda name, settings, parts: ExactTier(name, settings)),
    "text": Kind(
        TextSettings,
        lambda name, settings, parts: TextTier(name, settings, parts.own.answerer, parts.chosen.tariff),
    ),
    "blank": Kind(BlankSettings, lambda name, settings, parts: BlankTier(name, settings)),
    "model": Kind(ModelTierSettings, build_model_tier),
    "decoder": Kind(DecoderTierSettings, build_decoder_tier),
}


def settings_of(kinds: Mapping[str, Kind] = KINDS) -> dict[str, type]:
    """The settings by kind, as `read_tiers` takes them."""
    return {name: kind.settings for name, kind in kinds.items()}


def build_steps(entries: Sequence[Entry], parts: Parts, kinds: Mapping[str, Kind] = KINDS) -> list[Step]:
    """The tiers in order, not started. Without entries there is only the decoder's own model."""
    if not entries:
        return [Step(parts.own, "model")]
    parts.own.fingerprint = fingerprint_of(parts.chosen)
    return [_step(entry, parts, kinds) for entry in entries]


def _step(entry: Entry, parts: Parts, kinds: Mapping[str, Kind]) -> Step:
    common = entry.common
    if entry.is_own:
        parts.own.name = entry.name
        tier: Tier = parts.own
    else:
        tier = kinds[common.kind].build(entry.name, entry.settings, parts)
    return Step(tier, common.kind, common.when, break_even=common.break_even)


async def measure(steps: Sequence[Step]) -> None:
    """Time every tier that runs a model here, and judge whether it saves more than it costs.

    Raises TierBelowBreakEven, unless the tier's `break_even` is to warn.
    """
    if len(steps) == 1:
        return
    for step in steps:
        step.seconds = await step.tier.time()
    after_s = steps[-1].seconds
    for step in reversed(steps[:-1]):
        if after_s is not None and step.seconds is not None:
            after_s = _judge(step, step.seconds, after_s)


def _judge(step: Step, seconds: float, after_s: float) -> float:
    """The expected seconds of a request that reaches this tier: its own, and those after it if it passes."""
    keeps = step.tier.keeps
    if keeps is None:
        log.warning(
            "tier_not_judged", tier=step.tier.name, seconds=seconds, why="its kept share is not known"
        )
        return after_s
    saves = keeps * after_s
    facts = {"tier": step.tier.name, "seconds": seconds, "keeps": keeps, "after_s": after_s, "saves": saves}
    if seconds < saves:
        log.info("tier_pays", **facts)
    elif step.break_even == "warn":
        log.warning("tier_below_break_even", **facts)
    else:
        log.error("tier_below_break_even", **facts)
        raise TierBelowBreakEven(step.tier.name, seconds, keeps, after_s)
    return seconds + (1 - keeps) * after_s
