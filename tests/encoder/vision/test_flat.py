"""Dropped cells against the rule for dropping them, on pictures of few colours in small cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoder_svc.vision.flat import extremes, find_witnesses, kept_cells, uniform_cells

CELL = 4
Rgb = NDArray[np.uint8]


@st.composite
def pictures(draw: st.DrawFn) -> Rgb:
    """Up to 6 x 6 cells, each of a random colour among three similar ones; some cells have a slightly changed
    pixel.
    """
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    number = st.integers(0, 2**32 - 1)
    random = np.random.default_rng(draw(number))
    colours = random.integers(100, 100 + draw(st.integers(1, 8)), (3, 3), np.uint8)
    cells = colours[random.integers(0, 3, (rows, columns))]
    rgb = cells.repeat(CELL, 0).repeat(CELL, 1)
    for _ in range(draw(st.integers(0, 6))):
        rgb[random.integers(rows * CELL), random.integers(columns * CELL), random.integers(3)] += 1
    return rgb


def cell_at(rgb: Rgb, place: int) -> Rgb:
    row, column = divmod(place, rgb.shape[1] // CELL)
    return rgb[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]


def spread(*cells: Rgb) -> int:
    """Largest difference of two values of a channel."""
    values = np.concatenate([cell.reshape(-1, 3) for cell in cells]).astype(int)
    return int((values.max(0) - values.min(0)).max())


def before(place: int, columns: int) -> list[int]:
    """The existing left and upper neighbours."""
    return [place - 1] * (place % columns > 0) + [place - columns] * (place >= columns)


def witnesses_of(rgb: Rgb, tolerance: int) -> Any:
    return find_witnesses(*extremes(rgb, CELL), uniform_cells(rgb, CELL, tolerance), tolerance)


@given(pictures(), st.integers(0, 4))
def test_a_dropped_cell_has_a_kept_witness_of_its_colour_nearby(rgb: Rgb, tolerance: int) -> None:
    """And only then: whatever is kept has no such neighbour."""
    witnesses, columns = witnesses_of(rgb, tolerance), rgb.shape[1] // CELL
    for place, witness in enumerate(witnesses.tolist()):
        assert witnesses[witness] == witness
        neighbours = before(place, columns)
        could = [
            other
            for other in neighbours
            if spread(cell_at(rgb, other)) <= tolerance
            and spread(cell_at(rgb, place), cell_at(rgb, int(witnesses[other]))) <= tolerance
        ]
        if witness == place:
            assert not could
        else:
            assert witness in [witnesses[other] for other in could]
            assert spread(cell_at(rgb, place), cell_at(rgb, witness)) <= tolerance


def around(place: int, columns: int, count: int) -> list[int]:
    """The existing neighbours among four."""
    after = [place + 1] * (place % columns < columns - 1) + [place + columns] * (place + columns < count)
    return before(place, columns) + after


@given(pictures())
def test_a_region_keeps_a_witness_unless_an_adjacent_cell_shows_its_colour(rgb: Rgb) -> None:
    """At tolerance 0. Every other cell is kept, and of a region at most its first."""
    witnesses, columns = witnesses_of(rgb, 0).tolist(), rgb.shape[1] // CELL
    count = len(witnesses)
    indices = kept_cells(rgb, CELL, 0)
    kept = set(range(count) if indices is None else indices.tolist())
    flat = {place for place in range(count) if spread(cell_at(rgb, place)) == 0}
    assert kept
    assert set(range(count)) - flat <= kept
    assert {place for place in kept & flat if witnesses[place] != place} == set()
    for witness in {witnesses[place] for place in flat}:
        colour = cell_at(rgb, witness)[0, 0]
        beside = {
            other
            for place in flat
            if witnesses[place] == witness
            for other in around(place, columns, count)
            if other not in flat and (cell_at(rgb, other) == colour).all(axis=2).any()
        }
        assert (witness in kept) == (not beside) or kept == {0}


def test_a_slow_gradient_keeps_a_witness_wherever_its_colour_has_drifted_too_far() -> None:
    shades = np.arange(0, 40, 2, dtype=np.uint8)  # 20 cells in a row, each 2 brighter
    rgb = np.broadcast_to(shades.repeat(CELL)[None, :, None], (CELL, 20 * CELL, 3)).copy()
    kept = kept_cells(rgb, CELL, 4)  # every cell is uniform: none beside shows a colour for them
    assert kept is not None
    assert kept.tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert kept_cells(rgb, CELL, 1) is None


def test_a_blank_picture_keeps_a_single_cell() -> None:
    kept = kept_cells(np.full((128, 96, 3), 255, np.uint8), 32, 0)
    assert kept is not None
    assert (kept.tolist(), kept.dtype) == ([0], np.int32)


@pytest.mark.parametrize(("tolerance", "uniform"), [(0, False), (6, False), (7, True)])
def test_a_single_different_pixel_decides(tolerance: int, uniform: bool) -> None:
    rgb = np.full((CELL, CELL, 3), 50, np.uint8)
    rgb[3, 2, 1] = 57
    assert uniform_cells(rgb, CELL, tolerance).tolist() == [[uniform]]
