"""Biases of tokens as words of the command line."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from fovea.cli.options import UINT32


def biases(given: Sequence[str]) -> dict[int, float]:
    """Biases by token id, from `ID:BIAS`. The server checks their range. Raises BadParameter."""
    return dict(map(_bias, given))


def _bias(text: str) -> tuple[int, float]:
    token, _, bias = text.partition(":")
    try:
        pair = int(token), float(bias)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not ID:BIAS, as in 151645:-100") from None
    if not 0 <= pair[0] <= UINT32:
        raise typer.BadParameter(f"{text!r}: a token id is between 0 and {UINT32}")
    return pair
