"""How an image is encoded and which of its rows are sent: the decoder's request to an encoder.

The planner chooses the plan and the encoder executes it. Size and `flat_tolerance` are part of the key of
stored rows; the selection is not. The module is independent of pixels and budgets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fovea.contract.codec import EnumCodec
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import rows_pb2

MAX_FLAT_TOLERANCE = 32
LEAST_ROWS = 16
"""The fewest rows that a selection keeps. An image that has fewer keeps all."""
_MILLION = 1_000_000


class Reducer(StrEnum):
    """The method that ranks rows. With RESIZE the planner shrinks the image; the encoder drops no rows."""

    RESIZE = "resize"
    SCOPE = "scope"
    DIVPRUNE = "divprune"
    STRIDE = "stride"
    RANDOM = "random"


@dataclass(frozen=True)
class RowSelection:
    """Which rows are kept: the share `keep`, or with `auto` as many as add something. `reducer` ranks."""

    keep: float = 1.0
    auto: bool = False
    reducer: Reducer = Reducer.SCOPE

    @property
    def all(self) -> bool:
        return not self.auto and self.keep >= 1.0

    def count(self, total: int) -> int:
        """The number of rows kept of `total`: the share, rounded up. With `auto`, the lower bound.

        The share is first rounded to millionths, so that 0.3 of 10 is 3 even if it was sent as a float32.
        """
        share = 0 if self.auto else -(-total * round(self.keep * _MILLION) // _MILLION)
        return max(share, min(total, LEAST_ROWS))

    def most(self, total: int) -> int:
        """Upper bound of the rows kept of `total`."""
        return total if self.auto else self.count(total)

    def affordable(self, kept: int) -> int:
        """The largest number of rows of an image that keeps at most `kept` of them."""
        if self.auto or kept < LEAST_ROWS:
            return kept
        total = max(kept, kept * _MILLION // max(1, round(self.keep * _MILLION)))
        while self.most(total) > kept:
            total -= 1
        return total


ALL_ROWS = RowSelection()


@dataclass(frozen=True)
class EncodePlan:
    """The size and the row selection of an image.

    Without `max_pixels` the encoder's limit applies. Without `flat_tolerance` no uniform patch is dropped.
    """

    max_pixels: int | None = None
    flat_tolerance: int | None = None
    rows: RowSelection = field(default=ALL_ROWS)

    @property
    def by_content(self) -> bool:
        """Whether the row count depends on the pixels, not on the size alone."""
        return self.flat_tolerance is not None or not self.rows.all


_REDUCER = EnumCodec(rows_pb2.Reducer, Reducer)


def plan_to_proto(plan: EncodePlan) -> encoder_pb2.EncodePlan:
    message = encoder_pb2.EncodePlan(max_pixels=plan.max_pixels, flat_tolerance=plan.flat_tolerance)
    if not plan.rows.all:
        selection = plan.rows
        message.rows.CopyFrom(
            encoder_pb2.RowChoice(
                keep=None if selection.auto else selection.keep,
                auto=selection.auto,
                reducer=_REDUCER.to_proto(selection.reducer),
            )
        )
    return message


def plan_from_proto(message: encoder_pb2.EncodePlan) -> EncodePlan:
    """The plan as sent, unchecked."""
    selection = message.rows
    return EncodePlan(
        message.max_pixels if message.HasField("max_pixels") else None,
        message.flat_tolerance if message.HasField("flat_tolerance") else None,
        RowSelection(
            selection.keep if selection.HasField("keep") else 1.0,
            selection.auto,
            _REDUCER.from_proto(selection.reducer) or Reducer.SCOPE,
        ),
    )
