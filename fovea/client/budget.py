"""What the images of a request may cost, as a Python caller writes it.

Knows what follows from the size of an image alone, which is what `fit` needs; what depends on pixels or on
the other images of a request is the server's to plan. Checks no range: the server names the field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from fovea.decoder.v1 import decoder_pb2
from fovea.geometry import DEFAULT_MAX_PIXELS, Geometry
from fovea.vision.v1 import rows_pb2

Detail = Literal["", "low", "high", "auto"]


@dataclass(frozen=True)
class Budget:
    """What is None or empty is the server's choice.

    `max_visual_tokens` bounds the whole request; with `on_over_budget` at `fit` its images are shrunk until
    they fit, though none below `min_tokens`. `detail` says how much of each image matters, `min_detail` what
    remains of it when the server is near a limit. `repeat_policy` at `reference` names an image that stands
    here twice instead of repeating its tokens. `reduction` keeps the best tokens of each image, or `keep`
    says which share; `reducer` says by what. `flat_tolerance` leaves squares of one colour out, 0 those of
    exactly one; `near_repeats` is the share to keep of images that follow each other as in a video.
    `max_short_side` and `max_long_side` bound the sides in pixels.
    """

    max_pixels: int | None = None
    max_visual_tokens: int | None = None
    detail: Detail = ""
    min_detail: Detail = ""
    on_over_budget: Literal["", "fit", "refuse"] = ""
    repeat_policy: Literal["", "keep", "reference"] = ""
    keep: float | None = None
    reduction: Literal["", "off", "economy", "strong", "auto"] = ""
    reducer: Literal["", "resize", "scope", "divprune", "stride", "random"] = ""
    flat_tolerance: int | None = None
    near_repeats: float | None = None
    min_tokens: int | None = None
    max_short_side: int | None = None
    max_long_side: int | None = None

    def message(self) -> decoder_pb2.VisualBudget:
        """As it is sent. Raises ValueError for a word that the contract does not have."""
        api = decoder_pb2
        budget = api.VisualBudget(
            max_pixels=self.max_pixels,
            max_visual_tokens=self.max_visual_tokens or 0,
            detail=_number(api.Detail, self.detail),
            min_detail=_number(api.Detail, self.min_detail),
            on_over_budget=_number(api.OnOverBudget, self.on_over_budget),
            repeat_policy=_number(api.RepeatPolicy, self.repeat_policy),
            min_tokens=self.min_tokens or 0,
            max_short_side=self.max_short_side or 0,
            max_long_side=self.max_long_side or 0,
        )
        reduction = api.Reduction(
            keep=self.keep,
            mode=_number(api.ReductionMode, self.reduction),
            reducer=_number(rows_pb2.Reducer, self.reducer),
            flat_tolerance=self.flat_tolerance,
            near_repeats=self.near_repeats,
        )
        if reduction.ByteSize():
            budget.reduction.CopyFrom(reduction)
        return budget

    @classmethod
    def of(cls, message: decoder_pb2.VisualBudget) -> Budget:
        """From a server's message, words that are unknown here left empty."""
        reduction = message.reduction
        return cls(
            max_pixels=_set(message, "max_pixels"),
            max_visual_tokens=message.max_visual_tokens or None,
            detail=_word(decoder_pb2.Detail, message.detail),
            min_detail=_word(decoder_pb2.Detail, message.min_detail),
            on_over_budget=_word(decoder_pb2.OnOverBudget, message.on_over_budget),
            repeat_policy=_word(decoder_pb2.RepeatPolicy, message.repeat_policy),
            keep=_set(reduction, "keep"),
            reduction=_word(decoder_pb2.ReductionMode, reduction.mode),
            reducer=_word(rows_pb2.Reducer, reduction.reducer),
            flat_tolerance=_set(reduction, "flat_tolerance"),
            near_repeats=_set(reduction, "near_repeats"),
            min_tokens=message.min_tokens or None,
            max_short_side=message.max_short_side or None,
            max_long_side=message.max_long_side or None,
        )

    def with_pixels(self, max_pixels: int | None) -> Budget:
        """This budget with the shorthand `max_pixels` that stood beside it; None where none did."""
        if max_pixels is None:
            return self
        if self.max_pixels is not None:
            raise ValueError("max_pixels stands in the budget already")
        return replace(self, max_pixels=max_pixels)

    def limit(self, width: int, height: int) -> int:
        """The max_pixels at which an image of this size is planned, as far as its size alone tells.

        The tokens of a request may all go to one image. Where not even the fewest pixels fit, it is for the
        server to refuse: the image stays at those.
        """
        geometry = Geometry()
        pixels = DEFAULT_MAX_PIXELS if self.max_pixels is None else self.max_pixels
        limit = geometry.limit(width, height, pixels, self.max_short_side or 0, self.max_long_side or 0)
        if not self.max_visual_tokens:
            return limit
        tokens = max(self.max_visual_tokens, self.min_tokens or 0)
        return geometry.within(min(limit, geometry.largest_fitting(width, height, tokens) or 1))


SERVERS_CHOICE = Budget()


def _set(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def _prefix(enum: Any) -> str:
    """What precedes every name of an enum: DETAIL_ of DETAIL_LOW."""
    return str(enum.Name(0)).removesuffix("UNSPECIFIED")


def _number(enum: Any, word: str) -> Any:
    if not word:
        return 0
    known = {name.removeprefix(_prefix(enum)).lower(): number for name, number in enum.items()}
    if word not in known:
        raise ValueError(f"{word!r} is none of {', '.join(list(known)[1:])}")
    return known[word]


def _word(enum: Any, number: int) -> Any:
    known = number and number in enum.values()
    return enum.Name(number).removeprefix(_prefix(enum)).lower() if known else ""
