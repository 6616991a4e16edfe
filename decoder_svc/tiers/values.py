"""Values of a tiers file that several kinds of tier share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from decoder_svc.budget.tariff import Tariff

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d+) ?(B|KiB|MiB|GiB)")


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value)
    if match is None:
        raise ValueError("is not a size such as 64 MiB")
    return int(match[1]) * UNITS[match[2]]


Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=1)]
"""A number of bytes, or a text such as `64 MiB`."""
Seconds = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Amount = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class Prices:
    """Prices per million, in the decoder's `price_currency`, as in its own tariff."""

    text_tokens: Amount = 0.0
    visual_tokens: Amount = 0.0
    output_tokens: Amount = 0.0
    cached_tokens: Amount = 0.0
    patches: Amount = 0.0

    def tariff(self, currency: str) -> Tariff:
        return Tariff(currency, **vars(self))
