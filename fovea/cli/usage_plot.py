"""Draws sums over the ledger: tokens by kind, a bar for each key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fovea.cli.errors import PlotNotInstalled
from fovea.contract.usage import UsageSummary

KINDS = {"text_tokens": "text", "visual_tokens": "visual", "output_tokens": "output"}
MAX_BARS = 100


def draw(sums: Sequence[UsageSummary], by: str, path: Path) -> None:
    """Write a PNG. The last MAX_BARS keys are drawn. Raises PlotNotInstalled without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise PlotNotInstalled from None
    shown = sums[-MAX_BARS:]
    places = range(len(shown))
    figure = Figure(figsize=(max(6.0, 0.3 * len(shown)), 4.5), layout="constrained")
    axes = figure.subplots()
    bottom = [0] * len(shown)
    for name, label in KINDS.items():
        tokens = [getattr(summary, name) for summary in shown]
        axes.bar(places, tokens, bottom=bottom, label=label)
        bottom = [low + more for low, more in zip(bottom, tokens, strict=True)]
    axes.set_xticks(places, [summary.key or "all" for summary in shown], rotation=45, ha="right")
    axes.set_ylabel("tokens")
    axes.set_xlabel(by)
    axes.legend()
    figure.savefig(path, dpi=120)
