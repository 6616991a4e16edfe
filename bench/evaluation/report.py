"""The page that a run of `make eval` writes: what was asked, the table by kind, what the targets say.

Turns scores into Markdown and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.bounds import Bounded
from bench.evaluation.scores import Score
from bench.result import Measure

HEAD = "| kind | tier | n | native | half size | native less half, points | blank | chance |"
RULE = "|---|---|---:|---:|---:|---:|---:|---:|"

METHOD = """\
Model `{model}`, {per_kind:,} held-out questions of each of {kinds} kinds (seed {seed}, set `{set}`), asked
through the two running services over gRPC, {concurrency} at a time, greedy. An answer is right when it is the
expected text, letter by letter.

{asks:,} questions about {images:,} different images took {encodes:,} runs of the vision tower and
{seconds:,.0f} s ({asks_per_s:.0f} questions a second on {cores} cores): an image is encoded when it is first
asked about, and never again.

Native is the picture as drawn; half size is the same picture with half the width and height, made by the
client with Pillow; blank is a white picture of the native size. Each question is asked about all three, so
differences are paired."""

NOTES = """\
Figures are percent, with 95 % bounds: of a kind the exact binomial, of its paired difference by Agresti
and Min, of a tier a bootstrap over rows of questions that share pictures (2,000 resamples). A tier is the
mean of its kinds. Chance is what the best constant answer gets. `blank_above_chance` counts kinds that a
blank image answers better than that (exact binomial test, at most 5 % false alarms over all kinds)."""


def page(
    facts: Mapping[str, Any],
    kinds: Sequence[Score],
    tiers: Sequence[Score],
    found: Mapping[str, Measure],
    plot: str,
) -> str:
    """The whole page; `facts` are the model, the set and what the run cost, `plot` the picture's place."""
    parts = [
        "# How well the stand-in reads",
        "Written by `make eval`; do not edit.",
        _method(facts),
        f"![Right answers by kind at native size, at half size and with a blank image]({plot})",
        "## By tier",
        _table(tiers),
        "## By kind",
        _table(kinds),
        "## Targets",
        targets(found),
        NOTES,
    ]
    return "\n\n".join(parts) + "\n"


def _method(facts: Mapping[str, Any]) -> str:
    return METHOD.format_map({**facts, "set": facts["dataset"][:12]})


def _table(scores: Sequence[Score]) -> str:
    return "\n".join([HEAD, RULE, *(_row(score) for score in scores)])


def _row(score: Score) -> str:
    views = score.views
    cells = [
        f"`{score.name}`",
        score.tier,
        f"{score.n:,}",
        bounded(views["native"]),
        bounded(views["half"]),
        bounded(score.lost, "+.1f"),
        bounded(views["blank"]),
        f"{100 * score.chance:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def bounded(found: Bounded, form: str = ".1f") -> str:
    """Points with their bounds: `97.2 (96.0 to 98.1)`."""
    value, lower, upper = (format(100 * one, form) for one in (found.value, found.lower, found.upper))
    return f"{value} ({lower} to {upper})"


def targets(found: Mapping[str, Measure]) -> str:
    head = ["| measure | value | 95 % bounds | target | met |", "|---|---:|---:|---:|---|"]
    rows = [_target(name, one) for name, one in found.items() if one.target is not None]
    return "\n".join(head + rows)


def _target(name: str, one: Measure) -> str:
    bounds = "" if one.lower is None or one.upper is None else f"{one.lower:.3f} to {one.upper:.3f}"
    value = "not measured" if one.value is None else f"{one.value:.3g}"
    return f"| `{name}` | {value} | {bounds} | {one.sense} {one.target:g} | {'yes' if one.met else 'no'} |"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
