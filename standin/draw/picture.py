"""What every kind of picture hands over: the canvas and the facts that its questions ask for."""

from __future__ import annotations

from dataclasses import dataclass

from standin.canvas import Canvas


@dataclass(frozen=True)
class Series:
    """Named, coloured values in the order in which they are drawn (left to right or clockwise)."""

    labels: tuple[str, ...]
    colours: tuple[str, ...]
    values: tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """One drawn picture. `kind` is the answer to "what kind of picture is this"."""

    canvas: Canvas
    kind: str
    facts: object
