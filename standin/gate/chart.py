"""Pictures of charts: those of matplotlib in its styles, and those of the stand-in."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from standin.draw import draw_bar, draw_line, draw_pie
from standin.gate.sheet import Means, any_size, words

FAMILIES = {
    "DejaVuSans": "DejaVu Sans", "DejaVuSerif": "DejaVu Serif", "DejaVuSansMono": "DejaVu Sans Mono", "STIXGeneral": "STIXGeneral",
    "cmss10": "cmss10", "cmtt10": "cmtt10",
}  # fmt: skip
"""Of the fonts that charts are set in."""

Draw = Callable[[Any, np.random.Generator, random.Random], object]


def draw_chart(rng: random.Random, means: Means) -> Image.Image:
    if rng.random() < 0.35:
        return _of_the_stand_in(rng)
    values = np.random.default_rng(rng.getrandbits(32))
    width, height = any_size(rng, 260, 1000, 1.8)
    settings = {
        "font.family": rng.choice([family for name, family in FAMILIES.items() if name in means.fonts]),
        "font.size": rng.uniform(5, 13),
        "lines.linewidth": rng.uniform(0.6, 3),
        "axes.unicode_minus": False,
        "image.cmap": rng.choice(means.maps),
    }
    with (
        warnings.catch_warnings(),
        matplotlib.style.context(rng.choice(means.styles)),
        matplotlib.rc_context(settings),
    ):
        warnings.simplefilter("ignore")  # labels that do not fit
        figure = Figure(
            figsize=(width / 100, height / 100), dpi=100, layout=rng.choice((None, "tight", "constrained"))
        )
        canvas = FigureCanvasAgg(figure)
        rows, columns = rng.choices(((1, 1), (1, 2), (2, 1), (2, 2)), (8, 1, 1, 1))[0]
        for place in range(rows * columns):
            _axes(figure, (rows, columns, place + 1), values, rng)
        canvas.draw()
        return Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())


def _of_the_stand_in(rng: random.Random) -> Image.Image:
    draw = rng.choice((draw_bar, draw_line, draw_pie))
    picture = draw(rng, *any_size(rng, 240, 420, 1.5)).canvas.image
    scale = rng.choice((1, 1, 2))
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)


def _axes(
    figure: Figure, place: tuple[int, int, int], values: np.random.Generator, rng: random.Random
) -> None:
    draw = rng.choices(tuple(DRAWS), tuple(DRAWS.values()))[0]
    axes = figure.add_subplot(*place, projection="polar" if draw is _polar else None)
    draw(axes, values, rng)
    if rng.random() < 0.6:
        axes.set_title(words(rng, rng.randint(1, 4)))
    if draw in (_pie, _polar):
        return
    if rng.random() < 0.6:
        axes.set_xlabel(words(rng, 1))
        axes.set_ylabel(words(rng, rng.randint(1, 2)))
    if rng.random() < 0.3:
        axes.grid(True)
    for side in ("top", "right", "left") if rng.random() < 0.3 else ():
        axes.spines[side].set_visible(False)
    if axes.get_legend_handles_labels()[0] and rng.random() < 0.6:
        axes.legend()
    if rng.random() < 0.1:
        axes.set_xticks([])


def _series(values: np.random.Generator, points: int) -> np.ndarray:
    """A walk, a wave, a decay or noise."""
    at = np.linspace(0, 1, points)
    noise = values.normal(0, values.uniform(0.01, 0.3), points)
    shapes = (
        values.normal(0, 1, points).cumsum() / points**0.5,
        np.sin(at * values.uniform(3, 40) + values.uniform(0, 6)) + noise,
        np.exp(-at * values.uniform(1, 8)) + noise,
        at ** values.uniform(0.3, 3) + noise,
    )
    return shapes[values.integers(len(shapes))] * 10 ** values.uniform(-1, 3)


def _lines(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    points, marker = rng.choice((5, 8, 12, 40, 200, 600)), rng.choice((None, None, "o", "s", "^", "."))
    draw = rng.choice((axes.plot, axes.plot, axes.plot, axes.step))
    for _ in range(rng.randint(1, 6)):
        at = np.arange(points)
        drawn = {"label": words(rng, 1), "linestyle": rng.choice(("-", "-", "--", ":"))}
        draw(at, _series(values, points), marker=marker if points < 60 else None, **drawn)
    if rng.random() < 0.2:
        axes.fill_between(at, _series(values, points), alpha=0.3)


def _bars(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    """Single, grouped, stacked or lying bars."""
    count, groups = rng.randint(2, 16), rng.choice((1, 1, 1, 2, 3, 4))
    lying, stacked, base = rng.random() < 0.3, rng.random() < 0.4, np.zeros(count)
    for group in range(groups):
        heights = np.abs(_series(values, count)) + 0.1
        at, width = (
            (np.arange(count), 0.8) if stacked else (np.arange(count) + 0.8 * group / groups, 0.75 / groups)
        )
        if lying:
            bars = axes.barh(at, heights, width, left=base if stacked else None, label=words(rng, 1))
        else:
            bars = axes.bar(at, heights, width, bottom=base if stacked else None, label=words(rng, 1))
        base = base + heights
        if groups == 1 and rng.random() < 0.4:
            axes.bar_label(bars, fmt="%.1f")
    names = [words(rng, 1) for _ in range(count)]
    if count < 10:
        (axes.set_yticks if lying else axes.set_xticks)(np.arange(count), names)


def _scatter(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 4)):
        count = rng.choice((15, 50, 150, 500))
        x = values.normal(values.uniform(-3, 3), 1, count)
        y = x * values.uniform(-2, 2) + values.normal(0, values.uniform(0.2, 2), count)
        axes.scatter(x, y, s=rng.uniform(3, 60), alpha=rng.uniform(0.4, 1), label=words(rng, 1))


def _histogram(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 2)):
        axes.hist(
            values.normal(values.uniform(0, 2), values.uniform(0.5, 2), 800),
            rng.choice((8, 20, 50)),
            alpha=0.7,
        )


def _pie(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    count = rng.randint(2, 8)
    hole = {"width": rng.uniform(0.2, 0.5)} if rng.random() < 0.35 else {}
    names = [words(rng, 1) for _ in range(count)] if rng.random() < 0.8 else None
    shares = values.uniform(0.2, 1, count)
    axes.pie(shares, labels=names, autopct=rng.choice((None, "%1.0f%%", "%1.1f%%")), wedgeprops=hole)


def _boxes(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    samples = [
        values.normal(values.uniform(-2, 2), values.uniform(0.5, 2), 60) for _ in range(rng.randint(2, 8))
    ]
    (axes.violinplot if rng.random() < 0.3 else axes.boxplot)(samples)


def _grid(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    """A map of values with its scale, or contours."""
    rows, columns = rng.randint(4, 24), rng.randint(4, 24)
    field = values.normal(0, 1, (rows, columns)).cumsum(axis=rng.randint(0, 1))
    if rng.random() < 0.3:
        shown = (axes.contourf if rng.random() < 0.5 else axes.contour)(field)
    else:
        shown = axes.imshow(field, aspect="auto", interpolation="nearest")
    axes.figure.colorbar(shown, ax=axes)
    if rows * columns < 80 and rng.random() < 0.5:
        for row in range(rows):
            for column in range(columns):
                axes.text(column, row, f"{field[row, column]:.1f}", ha="center", va="center")


def _area(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    points, count = rng.choice((8, 30, 100)), rng.randint(2, 5)
    axes.stackplot(np.arange(points), [np.abs(_series(values, points)) for _ in range(count)])


def _errors(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    count = rng.randint(4, 20)
    height = _series(values, count)
    spread = np.abs(height).mean() * 0.2 + 1e-6
    if rng.random() < 0.5:
        axes.errorbar(np.arange(count), height, yerr=spread, fmt=rng.choice(("o", "-o", "s")), capsize=3)
    else:
        axes.stem(np.arange(count), height)


def _polar(axes: Any, values: np.random.Generator, rng: random.Random) -> None:
    count = rng.randint(5, 12)
    at = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radii = values.uniform(0.2, 1, count)
    if rng.random() < 0.5:
        axes.bar(at, radii, width=5 / count, alpha=0.7)
    else:
        axes.plot(np.append(at, at[0]), np.append(radii, radii[0]))
        axes.fill(at, radii, alpha=0.3)


DRAWS: dict[Draw, float] = {
    _lines: 4, _bars: 4, _scatter: 2, _histogram: 1.5, _pie: 1.5, _boxes: 1, _grid: 1, _area: 0.7, _errors: 1, _polar: 0.4,
}  # fmt: skip
"""With the weight of each."""
