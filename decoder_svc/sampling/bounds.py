"""Bounds that several keywords of a JSON schema set for the same number, where llguidance is inexact."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product

from decoder_svc.sampling.keywords import MAX_MULTIPLE, SchemaPath, scaled


@dataclass
class Bounds:
    """The bounds that may apply to the same number, by keyword."""

    minimum: set[float] = field(default_factory=set)
    maximum: set[float] = field(default_factory=set)
    exclusiveMinimum: set[float] = field(default_factory=set)
    exclusiveMaximum: set[float] = field(default_factory=set)
    multipleOf: set[float] = field(default_factory=set)

    def check(self, path: SchemaPath) -> None:
        """Raises Unenforceable or TooCostly."""
        self._check_exclusive(path)
        if self.multipleOf:
            self._check_multiples(path)

    def _check_exclusive(self, path: SchemaPath) -> None:
        """llguidance includes an integer exclusive bound if the opposite bound is less than 1 away."""
        for low, high in product(self.exclusiveMinimum, self.maximum | self.exclusiveMaximum):
            if low == int(low) >= 0 and low < high < low + 1:
                raise path.refuse(
                    "exclusiveMinimum", f"{low:g} is not enforced with the upper bound {high:g}"
                )
        for high, low in product(self.exclusiveMaximum, self.minimum | self.exclusiveMinimum):
            if high == int(high) <= 0 and high - 1 < low < high:
                raise path.refuse(
                    "exclusiveMaximum", f"{high:g} is not enforced with the lower bound {low:g}"
                )

    def _check_multiples(self, path: SchemaPath) -> None:
        """A multiple of several numbers is a multiple of their least common multiple."""
        numbers = [Decimal(repr(number)) for number in self.multipleOf]
        places = max(scaled(number)[1] for number in numbers)
        common = math.lcm(*(int(number.scaleb(places)) for number in numbers))
        if common > MAX_MULTIPLE:
            raise path.too_costly("the least common multiple of multipleOf", MAX_MULTIPLE, common)
