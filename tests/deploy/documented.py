"""The metrics of docs/metrics.md: their types and labels, and the names that vLLM and SGLang have for them."""

from __future__ import annotations

import re

from tests.deploy.compose import ROOT

PAGE = ROOT / "docs/metrics.md"
FAMILIES = ("fovea_decoder_limit_", "fovea_encoder_limit_", "fovea_decoder_tier_")
"""Metrics that the page names together: one for each limit, and what each kind of tier tells."""


def _tables() -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of each metric."""
    return {
        row[0].strip("`"): (row[1], frozenset(re.findall(r"`(\w+)`", row[2])))
        for row in _tables()
        if row[0].startswith("`fovea_")
    }


def is_documented(name: str) -> bool:
    """Whether the page has the metric of this name, or of the histogram that this is a part of."""
    plain = re.sub(r"_(bucket|sum|count)$", "", name)
    return bool({name, plain} & documented().keys()) or name.startswith(FAMILIES)


def aliases() -> list[tuple[str, str, str]]:
    """The names in vLLM, SGLang and here; empty where there is none."""
    rows = _tables()
    begin = next(at for at, row in enumerate(rows) if row[0].startswith("vLLM")) + 2
    found = []
    for row in rows[begin:]:
        if row[0] == "metric":
            break
        found.append((row[0].strip("`"), row[1].strip("`"), row[2].strip("`")))
    return found


def without_counterpart() -> set[str]:
    """The metrics of vLLM that the page lists as having none here."""
    text = (
        PAGE.read_text(encoding="utf-8")
        .partition("have no counterpart:\n")[2]
        .partition("vLLM's optional")[0]
    )
    named = (point.partition("`: ")[0] for point in text.split("\n- "))
    return {name for names in named for name in re.findall(r"`(\w+)", names)}
