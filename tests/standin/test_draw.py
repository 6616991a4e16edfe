"""The facts of a drawn picture are what its pixels show.

Checked on the canvas's own record and on pixels.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from standin.canvas import Canvas
from standin.dataset import draw_picture
from standin.draw import DRAWERS
from standin.draw.bar import BarFacts, draw_bar
from standin.draw.card import CardFacts, draw_card
from standin.draw.line import LineFacts, draw_line
from standin.draw.page import PageFacts, draw_page
from standin.draw.pie import PieFacts, draw_pie
from standin.draw.scene import SceneFacts, draw_scene
from standin.draw.table import TableFacts, draw_table
from standin.labels import BONDS, CLASSES, SLOTS, dense_labels
from standin.lexicon import BOND_ID, COLOUR_ID, GLYPH_ID, WORD_ID

SEEDS = range(12)
COLOUR = len(CLASSES) - 1


def printed(canvas: Canvas) -> list[str]:
    return [item.text for item in canvas.items]


@pytest.mark.parametrize("seed", SEEDS)
def test_bars_stand_in_the_order_and_height_of_their_values(seed: int) -> None:
    picture = draw_bar(random.Random(seed), 224, 192)
    facts = picture.facts
    assert isinstance(facts, BarFacts)
    classes = np.asarray(picture.canvas.classes)
    columns, heights = [], []
    for name in facts.bars.colours:
        rows, cols = np.nonzero(classes == COLOUR_ID[name])
        columns.append(cols.mean())
        heights.append(rows.max() - rows.min())
    assert columns == sorted(columns)
    assert np.argsort(heights).tolist()[-1] == int(np.argmax(facts.bars.values))
    assert np.argsort(heights).tolist()[0] == int(np.argmin(facts.bars.values))
    assert printed(picture.canvas)[0] == facts.title


@pytest.mark.parametrize("seed", SEEDS)
def test_line_values_are_printed_from_left_to_right(seed: int) -> None:
    picture = draw_line(random.Random(seed), 224, 160)
    facts = picture.facts
    assert isinstance(facts, LineFacts)
    numbers = [item for item in picture.canvas.items if item.text.isdigit()]
    assert [int(item.text) for item in sorted(numbers, key=lambda item: item.x)] == list(facts.values)


@pytest.mark.parametrize("seed", SEEDS)
def test_pie_slices_cover_the_share_that_is_printed(seed: int) -> None:
    picture = draw_pie(random.Random(seed), 256, 224)
    facts = picture.facts
    assert isinstance(facts, PieFacts)
    classes = np.asarray(picture.canvas.classes)
    areas = np.array([(classes == COLOUR_ID[name]).sum() for name in facts.colours])
    assert sum(facts.shares) == 100
    # Pixels on the rims of slices go to one side or the other.
    np.testing.assert_allclose(100 * areas / areas.sum(), facts.shares, atol=1.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_table_cells_stand_in_their_row_and_column(seed: int) -> None:
    picture = draw_table(random.Random(seed), 256, 160)
    facts = picture.facts
    assert isinstance(facts, TableFacts)
    grid = [list(facts.columns)] + [[n, *map(str, c)] for n, c in zip(facts.rows, facts.cells, strict=True)]
    rows: dict[int, list[tuple[float, str]]] = {}
    for item in picture.canvas.items:
        near = next((row for row in rows if abs(row - item.y) < 10), round(item.y))
        rows.setdefault(near, []).append((item.x, item.text))
    assert [[text for _, text in sorted(rows[row])] for row in sorted(rows)] == grid


@pytest.mark.parametrize("seed", SEEDS)
def test_a_card_prints_its_three_texts(seed: int) -> None:
    picture = draw_card(random.Random(seed), 192, 160)
    facts = picture.facts
    assert isinstance(facts, CardFacts)
    assert printed(picture.canvas) == [facts.label, str(facts.figure), facts.footer]


@pytest.mark.parametrize("seed", SEEDS)
def test_scene_shows_every_shape_whole_and_the_largest_first(seed: int) -> None:
    picture = draw_scene(random.Random(seed), 224, 192)
    facts = picture.facts
    assert isinstance(facts, SceneFacts)
    classes = np.asarray(picture.canvas.classes)
    sides = []
    for name in facts.colours:
        rows, _ = np.nonzero(classes == COLOUR_ID[name])
        sides.append(rows.max() - rows.min())
    assert sides[0] == max(sides)
    assert printed(picture.canvas) == [facts.sign]


@pytest.mark.parametrize("seed", SEEDS)
def test_page_lines_read_from_left_to_right_and_top_to_bottom(seed: int) -> None:
    picture = draw_page(random.Random(seed), 224, 192)
    facts = picture.facts
    assert isinstance(facts, PageFacts)
    assert printed(picture.canvas) == [word for line in facts.lines for word in line]
    assert all(2 <= len(line) <= 5 for line in facts.lines)


@pytest.mark.parametrize("drawer", range(len(DRAWERS)))
def test_texts_stay_inside_the_picture(drawer: int) -> None:
    for seed in range(20):
        canvas = draw_picture("test-inside", seed, drawer=drawer).canvas
        for glyph in canvas.glyphs:
            assert 0 <= glyph.x < canvas.size[0]
            assert 0 <= glyph.y < canvas.size[1]


def test_dense_labels_name_the_patch_of_each_glyph() -> None:
    canvas = Canvas(64, 64)
    canvas.text(34, 2, "47", 14)
    canvas.rectangle((0, 32, 31, 63), (200, 0, 0), "red")
    labels = dense_labels(canvas, 64, 64)
    assert labels.shape == (16, len(CLASSES) + BONDS)
    # The 2x2 block of the top right: its first patch is the fifth in the tower's order.
    assert labels[4, :SLOTS].tolist() == [GLYPH_ID["4"], GLYPH_ID["7"], 0]
    assert labels[4, SLOTS] == len(WORD_ID) + 1
    assert labels[4, SLOTS + 1 : SLOTS + 3].tolist() == [5, 8]
    assert (labels[8:12, COLOUR] == COLOUR_ID["red"]).all()
    assert labels[:, COLOUR].astype(bool).sum() == 4


def test_dense_labels_bind_a_number_to_the_words_that_name_it() -> None:
    canvas = Canvas(64, 64)
    canvas.text(34, 2, "47", 14)
    canvas.bind(40, 8, "north", "sales")
    labels = dense_labels(canvas, 64, 64)
    assert labels[4, -BONDS:].tolist() == [BOND_ID["north"], BOND_ID["sales"]]
    assert not labels[:4, -BONDS:].any()
