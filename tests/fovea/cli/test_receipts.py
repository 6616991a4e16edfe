"""Savings as the command prints them."""

from __future__ import annotations

import pytest

from fovea.cli.plan import _image
from fovea.cli.receipts import share
from fovea.contract.count import PlannedCount, TokenCount
from fovea.contract.receipt import Step

WHOLE = TokenCount((320, 320), (320, 320), (1, 20, 20), 400, 100, 102_400)


@pytest.mark.parametrize(
    ("rest", "whole", "shown"), [(0, 1000, "100%"), (1, 1000, "99%"), (999, 1000, "0%"), (0, 0, "0%")]
)
def test_everything_is_saved_only_if_nothing_is_left(rest: int, whole: int, shown: str) -> None:
    assert share(rest, whole) == shown


@pytest.mark.parametrize(("tokens", "shown"), [(100, "100.0 KiB"), (50, "50.0 KiB"), (0, "0 B")])
def test_a_plan_shows_the_bytes_of_the_rows_that_are_kept(tokens: int, shown: str) -> None:
    assert _image("a.png", WHOLE, PlannedCount((), tokens, tokens, None))[4] == shown


def test_a_plan_names_a_repeat_once() -> None:
    step = Step("repeat", 100, 0, "repeat_policy")
    referenced = _image("a.png", WHOLE, PlannedCount((step,), 0, 0, 0))[-1]
    assert referenced == "repeat 100 to 0 (repeat_policy)"
    assert _image("a.png", WHOLE, PlannedCount((), 100, 100, 0))[-1] == "repeats image 1"
