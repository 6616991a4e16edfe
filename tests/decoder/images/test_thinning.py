"""Thinning keeps the first image of a sequence whole, then the rows that changed most."""

from __future__ import annotations

import numpy as np

from decoder_svc.images.thinning import Floats, VideoFrame, newest

RANDOM = np.random.default_rng(5)
ROWS, WIDTH = 12, 16


def frame(rows: Floats, places: list[int] | None = None) -> VideoFrame:
    return VideoFrame(rows, np.asarray(range(len(rows)) if places is None else places, np.int32))


def still() -> Floats:
    return RANDOM.standard_normal((ROWS, WIDTH)).astype(np.float32)


def test_only_what_changed_is_kept_of_later_images() -> None:
    first = still()
    second, third = first.copy(), first.copy()
    second[[3, 7]] *= -1
    third[3] *= -1  # still as in the second, but 7 is back
    kept = newest([frame(first), frame(second), frame(third)], 0.41)
    assert [list(indices) for indices in kept] == [list(range(ROWS)), [3, 7], [7]]


def test_no_image_disappears_and_the_first_stays_whole() -> None:
    same = still()
    kept = newest([frame(same), frame(same), frame(2 * same)], 0.01)
    assert [len(indices) for indices in kept] == [ROWS, 1, 1]


def test_rows_that_did_not_change_are_not_kept_although_the_share_allows_it() -> None:
    first = still()
    second = first.copy()
    second[[3, 7]] *= 1.5  # another row, in the same direction
    kept = newest([frame(first), frame(second), frame(second)], 0.9)
    assert [list(indices) for indices in kept] == [list(range(ROWS)), [3, 7], [0]]


def test_a_place_that_was_empty_before_is_new() -> None:
    first = still()
    kept = newest([frame(first[:6], [0, 1, 2, 3, 4, 5]), frame(first[4:8], [4, 5, 6, 7])], 0.8)
    assert [list(indices) for indices in kept] == [list(range(6)), [2, 3]]


def test_every_row_is_kept_at_a_share_of_1() -> None:
    frames = [frame(still()) for _ in range(3)]
    assert [len(indices) for indices in newest(frames, 1.0)] == [ROWS] * 3
