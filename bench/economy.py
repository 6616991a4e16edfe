"""What a visual token is worth: accuracy against tokens for every policy, and the rescue case.

Sends held-out questions to running services under each policy, paired, with rows in bf16, fp8 and int8.
Checks the plans of random requests. Then sends a stream of report pages to services without planning and
caches, and to ours. Only a full run on the frozen set writes docs/economy.md; all others write under build/.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import runner, services
from bench.economics import page, policies, requests, rescue
from bench.economics.page import SORTS, UniformShare
from bench.economics.policies import FLAT_KINDS, OFF, loss
from bench.economics.report_pages import stream
from bench.evaluation import asking, sheets
from bench.evaluation.asking import CONCURRENCY, Outcomes, Policy
from bench.evaluation.sheets import uniform_cells
from bench.host import ROOT, host, side
from bench.result import Measure, Result
from bench.runner import Run
from standin import control_dir, model_dir
from standin.dataset import KINDS
from standin.frozen import SEED

PER_KIND, QUICK_PER_KIND = 180, 2
REQUESTS, QUICK_REQUESTS = 10_000, 500
STREAM, QUICK_STREAM = 64, 6
SMALLER = ("fp8", "int8")
UNITS = {
    "points": (
        "auto_loss", "flat_loss", "economy_loss", "strong_loss", "vs_random", "vs_stride", "vs_resize",
        "fp8_loss", "rescue_loss",
    ),
    "share": ("auto_saved", "flat_saved", "rescue_tokens", "rescue_memory"),
    "ratio": ("rescue_ttft", "rescue_latency"),
}  # fmt: skip
"""Units of the promised measures. Measures that a run leaves out are owed."""

Groups = Sequence[Sequence[Policy]]


def add_flags(parser: argparse.ArgumentParser) -> None:
    asking.add_flags(parser, PER_KIND)
    parser.add_argument("--part", choices=("all", "accuracy", "rescue"), default="all", help="measure a part")


def measure(run: Run) -> Result:
    part, model = run.flags.part, run.flags.model.resolve()
    digest = sheets.digest(run.seed)
    outcomes = Outcomes(run.flags.per_kind or run.effort(PER_KIND, QUICK_PER_KIND))
    taken = {name: Measure(unit, None) for unit, names in UNITS.items() for name in names}
    taken |= requests.measures(run.effort(REQUESTS, QUICK_REQUESTS), run.seed)
    facts: dict[str, Any] = {"model": model.name, "per_kind": outcomes.per_kind, "part": part}
    sides, notes = {"ours": side("fovea")}, []
    if part != "accuracy":
        pages = stream(run.effort(STREAM, QUICK_STREAM), run.seed)
        rescued, sides["naive"] = rescue.measure(run, model, pages)
        taken |= rescued
    if part != "rescue":
        facts |= _accuracy(run, model, outcomes)
        uniform = _uniform(outcomes, run.seed)
        taken |= (
            policies.measures(outcomes, run.seed) | _flat(uniform, outcomes) | _smaller(outcomes, run.seed)
        )
        published = facts | {"seed": run.seed, "dataset": digest, "cores": host()["cores"]}
        notes.append(_publish(run, published, outcomes, taken, uniform))
    return Result(facts, sides, taken, digest, notes=notes)


def _accuracy(run: Run, model: Path, outcomes: Outcomes) -> dict[str, Any]:
    """Every policy with rows in bf16; then every token of the drawn pictures with smaller rows."""
    begin = time.perf_counter()
    _ask(run, model, "bf16", [policies.DRAWN, policies.UPLOADED], outcomes)
    _ask(run, control_dir(), "bf16", [policies.CONTROLLED], outcomes)
    for dtype in SMALLER:
        _ask(run, model, dtype, [[Policy(dtype, OFF.budget)]], outcomes)
    return {
        "kinds": len(KINDS),
        "concurrency": CONCURRENCY,
        "asks": outcomes.asks,
        "seconds": round(time.perf_counter() - begin, 1),
        "tolerance": policies.TOLERANCE,
        "row_dtypes": list(SMALLER),
    }


def _ask(run: Run, model: Path, dtype: str, groups: Groups, outcomes: Outcomes) -> None:
    folder = Path(tempfile.mkdtemp(dir=run.folder))
    launched = services.pair(model, folder, services.ONE_THREAD, encoder_flags=("--row-dtype", dtype))
    with services.started(launched):
        drawn = sheets.sheets(outcomes.per_kind, run.seed)
        asking.ask(launched[-1].address, drawn, groups, outcomes, status=run.status)


def _uniform(outcomes: Outcomes, seed: int) -> dict[str, UniformShare]:
    """By sort of picture."""
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
    kept, full = outcomes.tokens[policies.FLAT.name], outcomes.tokens[OFF.name]
    sorts = {first: sort for sort, first in SORTS.items()}
    for sheet in sheets.sheets(outcomes.per_kind, seed):
        uniform, cells = uniform_cells(sheet.image)
        for place, _ in sheet.questions:
            sort = sorts.get(KINDS[place.kind].split("_")[0])
            if sort is not None:
                dropped = full[place.kind, place.row] - kept[place.kind, place.row]
                counts[sort] += uniform, dropped, cells
    return {
        sort: UniformShare(float(uniform / cells), float(dropped / max(1.0, uniform)))
        for sort, (uniform, dropped, cells) in counts.items()
    }


def _flat(uniform: Mapping[str, UniformShare], outcomes: Outcomes) -> dict[str, Measure]:
    """Charts, tables and pages together, each sort weighted by its number of kinds."""
    weights = {sort: sum(kind.startswith(first) for kind in FLAT_KINDS) for sort, first in SORTS.items()}
    total = sum(weights[sort] * share.uniform for sort, share in uniform.items())
    dropped = sum(weights[sort] * share.uniform * share.dropped for sort, share in uniform.items())
    n = len(FLAT_KINDS) * outcomes.per_kind
    return {
        "flat_saved": Measure("share", dropped / total, n, target=0.95),
        "flat_uniform": Measure("share", total / sum(weights[sort] for sort in uniform), n),
    }


def _smaller(outcomes: Outcomes, seed: int) -> dict[str, Measure]:
    fp8, int8 = (loss(outcomes, OFF.name, dtype, seed=seed) for dtype in SMALLER)
    return {"fp8_loss": policies.held("points", fp8, 0.3), "int8_loss": Measure.of("points", int8)}


def _publish(
    run: Run,
    facts: Mapping[str, Any],
    outcomes: Outcomes,
    taken: Mapping[str, Measure],
    uniform: Mapping[str, UniformShare],
) -> str:
    """Writes the page and the plot. Returns a note of where they are."""
    flags, name = run.flags, facts["model"]
    whole = flags.part == "all" and run.seed == SEED and outcomes.per_kind >= PER_KIND
    usual = whole and flags.model.resolve() == model_dir()
    path = ROOT / "docs" / "economy.md" if usual else ROOT / "build" / "economy" / f"{name}.md"
    plot = Path("img") / f"{path.stem}.png" if usual else Path(f"{path.stem}.png")
    page.write(path, plot, facts, outcomes, taken, uniform)
    return f"written: {path}"


if __name__ == "__main__":
    runner.main("economy", "Measure what visual tokens are worth and what budgets save.", measure, add_flags)
