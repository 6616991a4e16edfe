"""Draws a dashboard from the answers of a Prometheus, for the documentation: `python -m tools.dashboards.picture`.

Grafana draws the same series in its own way; this shows what the queries give, and needs no Grafana.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

COLUMNS, ROW_INCHES, WIDTH_INCHES, DPI, PALETTE = 24, 0.28, 14, 100, 64
POINTS = 240
LEGEND_CHARS = 84
"""The characters of a legend that fit the width of a panel."""
Series = Sequence[tuple[str, list[Any]]]
"""Legends, and the times and values of each."""
VARIABLES = {"$__rate_interval": "30s", "$tenant": ".*", "$datasource": ""}


def substituted(expression: str, range_s: float) -> str:
    """A panel's query as Grafana would send it, for every tenant."""
    for name, value in (VARIABLES | {"$__range": f"{math.ceil(range_s)}s"}).items():
        expression = expression.replace(name, value)
    return expression


def draw(dashboard: Mapping[str, Any], prometheus: str, range_s: float, path: Path) -> None:
    """Write the last `range_s` seconds of all panels as a PNG."""
    panels = dashboard["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = pyplot.figure(figsize=(WIDTH_INCHES, ROW_INCHES * height), facecolor="#f4f5f5")
    for panel in panels:
        at = panel["gridPos"]
        box = (at["x"] / COLUMNS, 1 - (at["y"] + at["h"]) / height, at["w"] / COLUMNS, at["h"] / height)
        if panel["type"] == "row":
            figure.text(box[0] + 0.005, box[1] + box[3] / 3, panel["title"], fontsize=11, weight="bold")
            continue
        _panel(figure, panel, box, prometheus, range_s)
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)
    with Image.open(path) as drawn:
        small = drawn.convert("RGB").quantize(PALETTE)
    small.save(path, optimize=True)


def _panel(
    figure: Figure, panel: Mapping[str, Any], box: Sequence[float], prometheus: str, range_s: float
) -> None:
    x, y, width, height = box
    frame = Rectangle((x + 0.002, y + 0.002), width - 0.004, height - 0.004, transform=figure.transFigure)
    frame.set(facecolor="white", edgecolor="#d5d7d8", linewidth=0.8, zorder=-1)
    figure.add_artist(frame)
    axes = figure.add_axes((x + 0.15 * width, y + 0.34 * height, 0.81 * width, 0.52 * height))
    figure.text(
        x + 0.02 * width,
        y + (0.84 if panel["type"] == "stat" else 0.91) * height,
        panel["title"],
        fontsize=9,
        weight="bold",
        va="center",
    )
    series = [
        (_legend(target.get("legendFormat", ""), one["metric"]), one["values"])
        for target in panel["targets"]
        for one in _series(prometheus, substituted(target["expr"], range_s), range_s)
    ]
    defaults = panel["fieldConfig"]["defaults"]
    unit, limit = defaults.get("unit", "short"), _limit(panel)
    if panel["type"] == "stat":
        _number(axes, series, unit, limit)
    else:
        axes.set_xlim(-range_s, 0)
        _lines(axes, series, unit, limit)


def _limit(panel: Mapping[str, Any]) -> float | None:
    """Where the panel turns red."""
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", ())
    return next((step["value"] for step in steps if step["color"] == "red"), None)


def _number(axes: Axes, series: Series, unit: str, limit: float | None) -> None:
    axes.axis("off")
    values = [float(values[-1][1]) for _, values in series]
    shown = ", ".join(_readable(value, unit) for value in values) or "no data"
    red = limit is not None and any(value >= limit for value in values)
    axes.text(-0.1, 0.2, shown, fontsize=18, color="#c4162a" if red else "#37872d" if values else "gray")


def _ago(seconds: float) -> str:
    if not seconds:
        return "now"
    return f"{seconds:.0f} s" if seconds > -300 else f"{seconds / 60:.3g} min"


def _lines(axes: Axes, series: Series, unit: str, limit: float | None) -> None:
    now = time.time()
    for legend, values in series:
        axes.plot([at - now for at, _ in values], [float(value) for _, value in values], label=legend)
    if limit is not None:
        axes.axhline(limit, color="#c4162a", linewidth=1, linestyle="--")
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    highest = axes.get_ylim()[1]
    axes.set_ylim(bottom=0, top=highest if axes.dataLim.y1 > 0 or limit is not None else 1)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(lambda value, _: _readable(value, unit))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda value, _: _ago(value))
    if not series:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="gray", fontsize=9)
        return
    longest = max(len(legend) for legend, _ in series)
    columns = max(1, min(4, LEGEND_CHARS // (longest + 6)))
    axes.legend(
        fontsize=7, ncols=columns, frameon=False, handlelength=1.2, columnspacing=1.0, labelspacing=0.2,
        loc="upper left", bbox_to_anchor=(-0.16, -0.14), borderaxespad=0.0,
    )  # fmt: skip


def _series(prometheus: str, expression: str, range_s: float) -> list[dict[str, Any]]:
    now = time.time()
    asked = {"query": expression, "start": now - range_s, "end": now, "step": max(1.0, range_s / POINTS)}
    url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(url, timeout=60) as answer:
        return list(json.load(answer)["data"]["result"])


def _legend(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), template)


def _readable(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s" and 0 < value < 1:
        return f"{1000 * value:.3g} ms"
    ending = {"s": " s", "ops": "/s", "bytes": "B", "Bps": "B/s"}.get(unit, "")
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {letter}{ending}"
    return f"{value:.3g}{ending}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dashboard", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--minutes", type=float, default=180)
    given = parser.parse_args()
    draw(json.loads(given.dashboard.read_text()), given.prometheus, 60 * given.minutes, given.picture)


if __name__ == "__main__":
    main()
