"""Lines of an image become text in reading order."""

from __future__ import annotations

from fovea.contract.text import ImageText, TextLine


def line(text: str, left: int, top: int, height: int = 14) -> TextLine:
    return TextLine(text, left, top, left + 50, top + height, 0.9)


def test_lines_side_by_side_share_a_row() -> None:
    lines = (line("Total", 0, 41), line("Price", 200, 1), line("12", 200, 40), line("Item", 0, 0))
    assert str(ImageText(lines, "", "")) == "Item  Price\nTotal  12"


def test_lines_below_each_other_do_not() -> None:
    lines = (line("first", 0, 0), line("second", 0, 15), line("third", 0, 30))
    assert str(ImageText(lines, "", "")) == "first\nsecond\nthird"


def test_text_is_as_sure_as_its_least_sure_line() -> None:
    sure, unsure = line("a", 0, 0), TextLine("b", 0, 20, 5, 30, 0.4)
    assert ImageText((sure, unsure), "", "").confidence == 0.4
    assert ImageText((), "", "").confidence == 0.0
