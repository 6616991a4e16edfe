"""How one image is encoded and which rows of it are sent: what the decoder asks of an encoder, as values.

Decided by the planner, carried out by the encoder, part of every key under which rows are kept. This module
checks what a plan may be; it knows no pixels, no budget and no protobuf.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fovea.contract.enums import EnumCodec
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import rows_pb2

MAX_FLAT_TOLERANCE = 32
LEAST_ROWS = 16
"""No choice leaves an image fewer rows than these, unless it has fewer."""
_MILLION = 1_000_000


class Reducer(StrEnum):
    """Which rows are kept where not all are. RESIZE is the planner's: encoders drop nothing for it."""

    RESIZE = "resize"
    SCOPE = "scope"
    DIVPRUNE = "divprune"
    STRIDE = "stride"
    RANDOM = "random"


@dataclass(frozen=True)
class RowSelection:
    """The best rows by `reducer`: a share `keep` of them, or with `auto` as many as add something."""

    keep: float = 1.0
    auto: bool = False
    reducer: Reducer = Reducer.SCOPE

    @property
    def all(self) -> bool:
        return not self.auto and self.keep >= 1.0

    def count(self, total: int) -> int:
        """How many rows of `total` are kept: the share rounded up; with `auto`, the fewest that may be.

        In millionths, so that 0.3 is three of ten also where it came as a float32.
        """
        share = 0 if self.auto else -(-total * round(self.keep * _MILLION) // _MILLION)
        return max(share, min(total, LEAST_ROWS))

    def most(self, total: int) -> int:
        """The most rows of `total` that may be kept."""
        return total if self.auto else self.count(total)

    def affordable(self, kept: int) -> int:
        """The most rows of which at most `kept` are kept."""
        if self.auto or kept < LEAST_ROWS:
            return kept
        total = max(kept, kept * _MILLION // max(1, round(self.keep * _MILLION)))
        while self.most(total) > kept:
            total -= 1
        return total


ALL_ROWS = RowSelection()


@dataclass(frozen=True)
class EncodePlan:
    """`max_pixels` None leaves it to the encoder; `flat_tolerance` None drops no square of one colour."""

    max_pixels: int | None = None
    flat_tolerance: int | None = None
    rows: RowSelection = field(default=ALL_ROWS)

    @property
    def by_content(self) -> bool:
        """Whether the pixels decide how many rows there are, and not the size alone."""
        return self.flat_tolerance is not None or not self.rows.all


_REDUCER = EnumCodec(rows_pb2.Reducer, Reducer)


def plan_to_proto(plan: EncodePlan) -> encoder_pb2.EncodePlan:
    message = encoder_pb2.EncodePlan(max_pixels=plan.max_pixels, flat_tolerance=plan.flat_tolerance)
    if not plan.rows.all:
        choice = plan.rows
        message.rows.CopyFrom(
            encoder_pb2.RowChoice(
                keep=None if choice.auto else choice.keep,
                auto=choice.auto,
                reducer=_REDUCER.to_proto(choice.reducer),
            )
        )
    return message


def plan_from_proto(message: encoder_pb2.EncodePlan) -> EncodePlan:
    """As it was sent, unchecked."""
    choice = message.rows
    return EncodePlan(
        message.max_pixels if message.HasField("max_pixels") else None,
        message.flat_tolerance if message.HasField("flat_tolerance") else None,
        RowSelection(
            choice.keep if choice.HasField("keep") else 1.0,
            choice.auto,
            _REDUCER.from_proto(choice.reducer) or Reducer.SCOPE,
        ),
    )
