"""Draws an image as the model sees it: the grid of cells, dropped cells, and the rank of kept cells.

A cell is a visual token: 32x32 pixels, 2x2 patches. Makes no calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont, ImageOps

CELL = 32
LEAST_SIDE = 640
"""Smaller images are enlarged by an integer factor, so that cells are visible."""

GRID, PATCHES = (0, 0, 0, 120), (0, 0, 0, 40)
CUT, FLAT, HATCH = (185, 185, 185, 205), (255, 255, 255, 205), (90, 90, 90, 255)
HEAT_ALPHA = 120
FIRST, MIDDLE, LAST = (215, 25, 28), (255, 221, 120), (44, 105, 176)
LEGEND_HEIGHT, MARGIN = 34, 8


@dataclass(frozen=True)
class Cells:
    """The grid and its selection.

    `kept` are the indices of the cells that are sent. `order` are those of all encoded cells by decreasing
    importance; empty without a ranking.
    """

    columns: int
    rows: int
    kept: frozenset[int]
    order: tuple[int, ...]

    @property
    def count(self) -> int:
        return self.columns * self.rows

    def flat(self) -> list[int]:
        """Dropped before the tower."""
        encoded = frozenset(self.order) or self.kept
        return [index for index in range(self.count) if index not in encoded]

    def cut(self) -> list[int]:
        """Encoded but not sent."""
        return [index for index in self.order if index not in self.kept]


def draw(picture: Image.Image, cells: Cells) -> Image.Image:
    """Draw the cells over the picture, which must have its planned size."""
    zoom = max(1, -(-LEAST_SIDE // max(picture.size)))
    side = CELL * zoom
    base = picture.convert("RGB").resize((cells.columns * side, cells.rows * side), Image.Resampling.NEAREST)
    over, grid = Image.new("RGBA", base.size), Image.new("RGBA", base.size)
    pen = ImageDraw.Draw(over)
    for index, colour in heat(cells).items():
        pen.rectangle(_box(index, cells, side), fill=colour)
    for index in cells.cut():
        pen.rectangle(_box(index, cells, side), fill=CUT)
    for index in cells.flat():
        _hatch(over, _box(index, cells, side))
    _lines(ImageDraw.Draw(grid), base.size, side // 2, PATCHES)
    _lines(ImageDraw.Draw(grid), base.size, side, GRID)
    drawn = Image.alpha_composite(base.convert("RGBA"), over)
    return _with_legend(Image.alpha_composite(drawn, grid), cells)


def heat(cells: Cells) -> dict[int, tuple[int, int, int, int]]:
    """The colour of each cell that is sent, by rank; empty without a ranking."""
    last = max(1, len(cells.order) - 1)
    sent = ((rank, index) for rank, index in enumerate(cells.order) if index in cells.kept)
    return {index: (*_colour(rank / last), HEAT_ALPHA) for rank, index in sent}


def _colour(at: float) -> tuple[int, int, int]:
    """From FIRST at 0 through MIDDLE to LAST at 1."""
    begin, end, share = (FIRST, MIDDLE, 2 * at) if at < 0.5 else (MIDDLE, LAST, 2 * at - 1)
    mixed = [round(a + (b - a) * share) for a, b in zip(begin, end, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def _box(index: int, cells: Cells, side: int) -> tuple[int, int, int, int]:
    row, column = divmod(index, cells.columns)
    return column * side, row * side, (column + 1) * side - 1, (row + 1) * side - 1


def _hatch(over: Image.Image, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box
    tile = Image.new("RGBA", (right - left + 1, bottom - top + 1), FLAT)
    strokes = ImageDraw.Draw(tile)
    for shift in range(-tile.height, tile.width, 8):
        strokes.line((shift, tile.height, shift + tile.height, 0), fill=HATCH)
    over.paste(tile, (left, top))


def _lines(
    pen: ImageDraw.ImageDraw, size: tuple[int, int], step: int, colour: tuple[int, int, int, int]
) -> None:
    for x in range(step, size[0], step):
        pen.line((x, 0, x, size[1]), fill=colour)
    for y in range(step, size[1], step):
        pen.line((0, y, size[0], y), fill=colour)


def _with_legend(drawn: Image.Image, cells: Cells) -> Image.Image:
    """Append a line that explains the colours."""
    canvas = Image.new("RGB", (drawn.width, drawn.height + LEGEND_HEIGHT), "white")
    canvas.paste(drawn.convert("RGB"))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    at, top = MARGIN, drawn.height + MARGIN
    for words, swatch in _legend(cells):
        if swatch is not None:
            canvas.paste(ImageOps.expand(swatch, 1, "gray"), (at, top))
            at += swatch.width + MARGIN
        pen.text((at, top + 1), words, fill="black", font=font)
        at += round(pen.textlength(words, font=font)) + 2 * MARGIN
    return canvas


def _legend(cells: Cells) -> Sequence[tuple[str, Image.Image | None]]:
    entries: list[tuple[str, Image.Image | None]] = [(f"{len(cells.kept):,} of {cells.count:,} tokens", None)]
    if cells.order:
        ramp = Image.new("RGB", (60, 16))
        for x in range(ramp.width):
            ramp.paste(_colour(x / (ramp.width - 1)), (x, 0, x + 1, ramp.height))
        entries.append(("first to last in rank", ramp))
    if cells.cut():
        entries.append((f"{len(cells.cut()):,} not sent", Image.new("RGB", (16, 16), CUT[:3])))
    if cells.flat():
        tile = Image.new("RGBA", (16, 16))
        _hatch(tile, (0, 0, 15, 15))
        entries.append((f"{len(cells.flat()):,} flat, not encoded", tile.convert("RGB")))
    return entries
