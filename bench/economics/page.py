"""Writes the page of `bench.economy` and its plot of accuracy against tokens. Formats outcomes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from bench.economics import policies
from bench.economics.policies import OFF, accuracy, loss
from bench.evaluation.asking import Outcomes, Policy
from bench.evaluation.page import add_grid, bounded, head, panels, table, write_page
from bench.evaluation.scores import TIERS
from bench.evaluation.sheets import SCALES, scale_of
from bench.result import Measure
from standin.dataset import KINDS

TEMPLATE = Path(__file__).with_name("page.md")
GROUPS = {"all": KINDS, **TIERS}
COMPARED = ("accuracy", "coarse", "fine", "points lost", "fine points lost")
SORTS = {
    "bars": "bar", "lines": "line", "pies": "pie", "tables": "table", "cards": "card", "scenes": "scene",
    "pages": "page",
}  # fmt: skip
COLOURS = {
    "scope": "#1b6ca8", "divprune": "#4aa564", "stride": "#e08e26", "random": "#888888", "resize": "#b03a48",
}  # fmt: skip
SINGLE = {OFF.name: "*", policies.FLAT.name: "s", policies.FLAT_NEAR.name: "D", policies.GAIN.name: "P"}
"""Markers of the policies that are not on a curve."""


@dataclass(frozen=True)
class UniformShare:
    """Of the 32x32 squares of a sort of picture, the share that is uniform; of these, the share dropped."""

    uniform: float
    dropped: float


def write(
    path: Path,
    plot: Path,
    facts: Mapping[str, Any],
    outcomes: Outcomes,
    measures: Mapping[str, Measure],
    uniform: Mapping[str, UniformShare],
) -> None:
    """The page, and the plot at a path relative to it; `uniform` is by sort of picture."""
    smaller = [OFF, *(Policy(dtype, OFF.budget) for dtype in facts["row_dtypes"])]
    tables = {
        "drawn": _compare(outcomes, policies.DRAWN),
        "controlled": _compare(outcomes, policies.CONTROLLED),
        "smaller": _compare(outcomes, smaller),
        "uniform": _uniform(uniform),
        "by_scale": _by_scale(outcomes),
        "by_kind": _kinds(outcomes, [policy.name for policy in policies.DRAWN]),
    }
    flat_kinds = ", ".join(f"`{kind}`" for kind in policies.FLAT_KINDS)
    write_page(path, TEMPLATE, measures, plot=plot, flat_kinds=flat_kinds, **tables, **facts)
    draw(
        path.parent / plot,
        outcomes,
        "{model}: {per_kind:,} held-out questions of each kind, as drawn".format_map(facts),
    )


def _compare(outcomes: Outcomes, compared: Sequence[Policy]) -> str:
    """The losses are against the first policy."""
    base, rows = compared[0].name, []
    for policy in compared:
        cells = [f"`{policy.name}`", f"{outcomes.tokens[policy.name].mean():.1f}"]
        for kinds in GROUPS.values():
            cells += bounded(accuracy(outcomes, policy.name, kinds))
        for kinds in (KINDS, TIERS["fine"]):
            lost = loss(outcomes, base, policy.name, kinds)
            cells += ["", ""] if policy.name == base else bounded(lost, "+.2f")
        rows.append(cells)
    return table(head(("policy", "tokens"), COMPARED), rows)


def _by_scale(outcomes: Outcomes) -> str:
    rows = []
    for scale in SCALES:
        part = outcomes.of_rows([row for row in range(outcomes.per_kind) if scale_of(row) == scale])
        for policy in (OFF, *policies.UPLOADED) if part.per_kind >= 2 else ():
            name = "as drawn" if policy is OFF else policy.name
            cells = [f"{scale:g}", f"`{name}`", f"{part.tokens[policy.name].mean():.1f}"]
            for kinds in TIERS.values():
                cells += bounded(accuracy(part, policy.name, kinds))
            lost = loss(part, OFF.name, policy.name)
            rows.append([*cells, *(["", ""] if policy is OFF else bounded(lost, "+.2f"))])
    figures = ("coarse", "fine", "points lost against as drawn")
    return table(head(("enlarged", "policy", "tokens"), figures), rows, left=2)


def _uniform(uniform: Mapping[str, UniformShare]) -> str:
    rows = [[sort, f"{share.uniform:.1%}", f"{share.dropped:.1%}"] for sort, share in uniform.items()]
    return table(("pictures", "exactly uniform patches", "of these dropped"), rows)


def _kinds(outcomes: Outcomes, names: Sequence[str]) -> str:
    rows = [
        [f"`{kind}`", *(f"{100 * outcomes.right[name][place].mean():.1f}" for name in names)]
        for place, kind in enumerate(KINDS)
    ]
    return table(["kind", *(f"`{name}`" for name in names)], rows)


def draw(path: Path, outcomes: Outcomes, title: str) -> None:
    """Write the plot, a point a policy: all questions, coarse questions, fine questions."""
    with panels(path, (5, 0.11), 1, len(GROUPS), figsize=(11, 4.2)) as axes:
        for axis, (tier, kinds) in zip(axes, GROUPS.items(), strict=True):
            _draw_panel(axis, outcomes, kinds)
            axis.set_title(f"{tier} questions", fontsize=10)
            axis.set_xlabel("visual tokens a question")
        axes[0].set_ylabel("right answers, percent")
        axes[0].figure.suptitle(title, fontsize=10)


def _draw_panel(axis: Axes, outcomes: Outcomes, kinds: Sequence[str]) -> None:
    def points(names: list[str]) -> tuple[list[float], list[float]]:
        tokens = [float(outcomes.tokens[name].mean()) for name in names]
        return tokens, [accuracy(outcomes, name, kinds).value for name in names]

    for reducer in policies.REDUCERS:
        names = [OFF.name, *(policies.reduced(reducer, mode) for mode in policies.RATIOS)]
        axis.plot(*points(names), marker="o", markersize=4, color=COLOURS[reducer], label=reducer)
    for name, mark in SINGLE.items():
        axis.scatter(*points([name]), marker=mark, s=60, color="black", label=name, zorder=3)
    add_grid(axis)
