"""Dense labels: the content of each 16x16 patch of a picture, for the temporary head of pretraining.

Each patch has three glyph slots in reading order, the word or number whose centre it holds, and the
colour at its centre.
Patches come in the order of the vision tower: 2x2 blocks that merge to one visual token. Independent of the model.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from standin.canvas import Canvas
from standin.lexicon import BOND_ID, COLOUR_NAMES, GLYPH_ID, GLYPHS, WORD_ID, WORDS

PATCH = 16
SLOTS = 3
DIGITS = 3
BONDS = 2
NUMBER = len(WORDS) + 1
# Classes of each label column: three glyph slots, word, three digits of a number, colour.
CLASSES: tuple[int, ...] = (
    *(len(GLYPHS) + 1,) * SLOTS,
    len(WORDS) + 2,
    *(11,) * DIGITS,
    len(COLOUR_NAMES) + 1,
)


def block_order(rows: int, cols: int) -> np.ndarray:
    """Raster places of the patches of a rows x cols grid, in the tower's order of 2x2 blocks."""
    places = np.arange(rows * cols).reshape(rows // 2, 2, cols // 2, 2)
    return places.transpose(0, 2, 1, 3).reshape(-1)


def dense_labels(canvas: Canvas, width: int, height: int) -> np.ndarray:
    """(patches, 10) int16 labels of a canvas resized to width x height (multiples of 32).

    The columns of CLASSES, then the two words that belong to the content.
    """
    rows, cols = height // PATCH, width // PATCH
    scale_x, scale_y = width / canvas.size[0], height / canvas.size[1]
    labels = np.zeros((rows, cols, len(CLASSES) + BONDS), np.int16)
    classes = canvas.classes.resize((width, height), Image.Resampling.NEAREST)
    labels[:, :, len(CLASSES) - 1] = np.asarray(classes)[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH]
    _label_glyphs(labels, canvas, scale_x, scale_y)
    _label_items(labels, canvas, scale_x, scale_y)
    _label_bonds(labels, canvas, scale_x, scale_y)
    return labels.reshape(rows * cols, -1)[block_order(rows, cols)]


def _label_glyphs(labels: np.ndarray, canvas: Canvas, scale_x: float, scale_y: float) -> None:
    rows, cols = labels.shape[:2]
    used: dict[tuple[int, int], int] = {}
    for glyph in sorted(canvas.glyphs, key=lambda one: one.x):
        place = (int(glyph.y * scale_y) // PATCH, int(glyph.x * scale_x) // PATCH)
        slot = used.get(place, 0)
        if slot < SLOTS and 0 <= place[0] < rows and 0 <= place[1] < cols:
            labels[place][slot] = GLYPH_ID[glyph.char]
            used[place] = slot + 1


def _label_items(labels: np.ndarray, canvas: Canvas, scale_x: float, scale_y: float) -> None:
    rows, cols = labels.shape[:2]
    for item in canvas.items:
        row, col = int(item.y * scale_y) // PATCH, int(item.x * scale_x) // PATCH
        if not (0 <= row < rows and 0 <= col < cols):
            continue
        digits = [char for char in item.text if char.isdigit()][:DIGITS]
        labels[row, col, SLOTS] = WORD_ID.get(item.text, NUMBER)
        for place, digit in enumerate(digits):
            labels[row, col, SLOTS + 1 + place] = int(digit) + 1


def _label_bonds(labels: np.ndarray, canvas: Canvas, scale_x: float, scale_y: float) -> None:
    rows, cols = labels.shape[:2]
    for bond in canvas.bonds:
        row, col = int(bond.y * scale_y) // PATCH, int(bond.x * scale_x) // PATCH
        if 0 <= row < rows and 0 <= col < cols:
            labels[row, col, -BONDS:] = BOND_ID[bond.first], BOND_ID[bond.second]
