"""Lines as engines report them, as plain lines of the contract."""

from __future__ import annotations

from collections.abc import Sequence

from fovea.contract.text import TextLine


def clean_line(text: str, xs: Sequence[float], ys: Sequence[float], confidence: float) -> TextLine | None:
    """The line in the upright box of its corners, without control characters; None if nothing is left."""
    plain = "".join(filter(str.isprintable, text)).strip()
    if not plain:
        return None
    sides = (min(xs), min(ys), max(xs), max(ys))
    left, top, right, bottom = (max(0, round(float(side))) for side in sides)
    return TextLine(plain, left, top, right, bottom, min(1.0, max(0.0, float(confidence))))
