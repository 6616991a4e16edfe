"""Questions about a picture, with the right answers, from the facts it was drawn from. Draws nothing.

Coarse questions are about shape, colour, order and number of large parts; fine ones ask for a printed
word or number.
`CHANCE` is the share that the best constant answer gets, kind by kind (a test measures it on drawn
questions).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from standin.draw.bar import BarFacts
from standin.draw.card import CardFacts
from standin.draw.line import LineFacts
from standin.draw.page import PageFacts
from standin.draw.picture import Picture
from standin.draw.pie import PieFacts
from standin.draw.scene import SceneFacts
from standin.draw.table import TableFacts

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")

# Forms of each kind: the first two English, the rest Chinese.
FORMS: dict[str, tuple[str, ...]] = {
    "picture_kind": ("What kind of picture is this?", "What is this picture?", "这是什么图？"),
    "bar_count": ("How many bars are there?", "Count the bars.", "有几根柱子？"),
    "bar_tallest": ("What colour is the tallest bar?", "Which bar is the tallest?", "最高的柱子是什么颜色？"),
    "bar_shortest": (
        "What colour is the shortest bar?",
        "Which bar is the shortest?",
        "最矮的柱子是什么颜色？",
    ),
    "bar_order": ("Is the {a} bar left of the {b} bar?", "Is the {a} bar taller than the {b} bar?"),
    "line_colour": ("What colour is the line?", "Which colour has the line?", "线是什么颜色？"),
    "line_trend": ("Does the line rise or fall?", "Is the last point higher or lower than the first?"),
    "line_count": ("How many points are there?", "Count the points.", "有几个点？"),
    "pie_largest": (
        "What colour is the largest slice?",
        "Which slice is the largest?",
        "最大的一块是什么颜色？",
    ),
    "pie_count": ("How many slices are there?", "Count the slices.", "有几块？"),
    "table_rows": ("How many rows are there?", "Count the rows."),
    "card_colour": ("What colour is the card?", "What colour is the band?"),
    "scene_count": ("How many shapes are there?", "Count the shapes.", "有几个图形？"),
    "scene_biggest": (
        "What colour is the biggest shape?",
        "Which shape is the biggest?",
        "最大的图形是什么颜色？",
    ),
    "scene_shape": ("What shape is the {a} one?", "What is the {a} shape?"),
    "scene_time": ("Is it day or night?", "What time is it, day or night?"),
    "page_lines": ("How many lines are there?", "Count the lines.", "有几行？"),
    "bar_value": ("What is the value of the {a} bar?", "Read the value of the {a} bar."),
    "bar_named": ('What is the value of "{a}"?', 'Read the value of "{a}".'),
    "bar_label": ("What is the label of the {a} bar?", "Read the label of the {a} bar."),
    "line_value": ("What is the {a} value?", "Read the {a} value."),
    "pie_share": ("What is the share of the {a} slice?", "Read the share of the {a} slice."),
    "table_cell": ('What is the "{a}" of "{b}"?', 'Read the "{a}" of "{b}".'),
    "card_figure": ("What is the figure?", "Read the figure.", "数字是多少？"),
    "card_label": ("What is the label of the card?", "Read the label of the card."),
    "title": ("What is the title?", "Read the title.", "标题是什么？"),
    "scene_sign": ("What does the sign say?", "Read the sign.", "牌子上写着什么？"),
    "page_word": ("What is the {a} word of line {b}?", "Read the {a} word of line {b}."),
}
FINE = frozenset(
    (
        "bar_value",
        "bar_named",
        "bar_label",
        "line_value",
        "pie_share",
        "table_cell",
        "card_figure",
        "card_label",
        "title",
        "scene_sign",
        "page_word",
    )
)
COUNTING = frozenset(("bar_count", "line_count", "pie_count", "table_rows", "scene_count", "page_lines"))
CHANCE: dict[str, float] = {
    "picture_kind": 1 / 7, "bar_count": 1 / 4, "bar_tallest": 1 / 8, "bar_shortest": 1 / 8,
    "bar_order": 1 / 2, "line_colour": 1 / 8, "line_trend": 1 / 2, "line_count": 1 / 4,
    "pie_largest": 1 / 8, "pie_count": 1 / 4, "table_rows": 1 / 3, "card_colour": 1 / 8,
    "scene_count": 1 / 5, "scene_biggest": 1 / 8, "scene_shape": 1 / 3, "scene_time": 1 / 2,
    "page_lines": 1 / 4, "bar_value": 0.02, "bar_named": 0.02, "bar_label": 0.02, "line_value": 0.05,
    "pie_share": 0.06, "table_cell": 0.02, "card_figure": 0.01, "card_label": 0.01, "title": 0.01,
    "scene_sign": 0.01, "page_word": 0.02,
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One question with its one right answer."""

    kind: str
    question: str
    answer: str

    @property
    def tier(self) -> str:
        return "fine" if self.kind in FINE else "coarse"

    @property
    def chance(self) -> float:
        return CHANCE[self.kind]


def questions_about(picture: Picture, rng: random.Random) -> list[Asked]:
    """All kinds of question that the picture can answer; those with a choice are drawn again each time."""
    asked = [_ask(rng, "picture_kind", picture.kind)]
    return asked + _ASKERS[type(picture.facts)](picture.facts, rng)


def _ask(rng: random.Random, kind: str, answer: object, **slots: object) -> Asked:
    return Asked(kind, rng.choice(FORMS[kind]).format(**slots), str(answer))


def _about_bar(facts: BarFacts, rng: random.Random) -> list[Asked]:
    bars = facts.bars
    places = list(range(len(bars.values)))
    ranked = sorted(places, key=lambda place: bars.values[place])
    asked = [
        _ask(rng, "title", facts.title),
        _ask(rng, "bar_count", len(places)),
        _ask(rng, "bar_tallest", bars.colours[ranked[-1]]),
        _ask(rng, "bar_shortest", bars.colours[ranked[0]]),
        _order(bars.colours, bars.values, rng),
    ]
    by_colour = [_ask(rng, "bar_value", bars.values[p], a=bars.colours[p]) for p in rng.sample(places, 2)]
    by_label = [_ask(rng, "bar_named", bars.values[p], a=bars.labels[p]) for p in rng.sample(places, 2)]
    place = rng.choice(places)
    label = _ask(rng, "bar_label", bars.labels[place], a=bars.colours[place])
    return [*asked, *by_colour, *by_label, label]


def _order(colours: tuple[str, ...], values: tuple[int, ...], rng: random.Random) -> Asked:
    """A yes/no question on place or height; heights are only compared where they differ by 8 or more."""
    one, other = rng.sample(range(len(values)), 2)
    by_place, by_height = FORMS["bar_order"]
    if rng.random() < 0.5 or abs(values[one] - values[other]) < 8:
        form, right = by_place, one < other
    else:
        form, right = by_height, values[one] > values[other]
    return Asked("bar_order", form.format(a=colours[one], b=colours[other]), "yes" if right else "no")


def _about_line(facts: LineFacts, rng: random.Random) -> list[Asked]:
    rises = facts.values[-1] > facts.values[0]
    form = rng.randrange(2)
    trend = (("rise", "fall"), ("higher", "lower"))[form][0 if rises else 1]
    asked = [
        _ask(rng, "title", facts.title),
        _ask(rng, "line_colour", facts.colour),
        _ask(rng, "line_count", len(facts.values)),
        Asked("line_trend", FORMS["line_trend"][form], trend),
    ]
    named = {"first": facts.values[0], "last": facts.values[-1], "second": facts.values[1]}
    named |= {"highest": max(facts.values), "lowest": min(facts.values)}
    chosen = rng.sample(sorted(named), 3)
    return asked + [_ask(rng, "line_value", named[name], a=name) for name in chosen]


def _about_pie(facts: PieFacts, rng: random.Random) -> list[Asked]:
    largest = max(range(len(facts.shares)), key=lambda place: facts.shares[place])
    asked = [
        _ask(rng, "title", facts.title),
        _ask(rng, "pie_count", len(facts.shares)),
        _ask(rng, "pie_largest", facts.colours[largest]),
    ]
    chosen = rng.sample(range(len(facts.shares)), min(3, len(facts.shares)))
    return asked + [_ask(rng, "pie_share", f"{facts.shares[p]}%", a=facts.colours[p]) for p in chosen]


def _about_table(facts: TableFacts, rng: random.Random) -> list[Asked]:
    asked = [_ask(rng, "table_rows", len(facts.rows))]
    cells = [(row, column) for row in range(len(facts.rows)) for column in range(len(facts.columns))]
    for row, column in rng.sample(cells, min(5, len(cells))):
        value = facts.cells[row][column]
        asked.append(_ask(rng, "table_cell", value, a=facts.columns[column], b=facts.rows[row]))
    return asked


def _about_card(facts: CardFacts, rng: random.Random) -> list[Asked]:
    return [
        _ask(rng, "card_colour", facts.colour),
        _ask(rng, "card_figure", facts.figure),
        _ask(rng, "card_label", facts.label),
    ]


def _about_scene(facts: SceneFacts, rng: random.Random) -> list[Asked]:
    asked = [
        _ask(rng, "scene_count", len(facts.colours)),
        _ask(rng, "scene_biggest", facts.colours[0]),
        _ask(rng, "scene_time", facts.time),
        _ask(rng, "scene_sign", facts.sign),
    ]
    chosen = rng.sample(range(len(facts.colours)), min(2, len(facts.colours)))
    return asked + [_ask(rng, "scene_shape", facts.shapes[p], a=facts.colours[p]) for p in chosen]


def _about_page(facts: PageFacts, rng: random.Random) -> list[Asked]:
    asked = [_ask(rng, "page_lines", len(facts.lines))]
    places = [(row, place) for row, words in enumerate(facts.lines) for place in range(len(words))]
    for row, place in rng.sample(places, min(6, len(places))):
        last = place == len(facts.lines[row]) - 1
        name = "last" if last and rng.random() < 0.5 else ORDINALS[place]
        asked.append(_ask(rng, "page_word", facts.lines[row][place], a=name, b=row + 1))
    return asked


_ASKERS: dict[type, Callable[..., list[Asked]]] = {
    BarFacts: _about_bar,
    LineFacts: _about_line,
    PieFacts: _about_pie,
    TableFacts: _about_table,
    CardFacts: _about_card,
    SceneFacts: _about_scene,
    PageFacts: _about_page,
}
