"""What a part of `bench.cascade` gives to its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.result import Measure


@dataclass(frozen=True)
class Part:
    """Measures, and the configuration, sides and notes that belong to them."""

    measures: Mapping[str, Measure]
    config: Mapping[str, Any] = field(default_factory=dict)
    sides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: Sequence[str] = ()
