"""What a visual token is worth: accuracy against tokens for every way of spending fewer, and the rescue case.

Asks held-out questions through running services under each policy, paired, with rows in bf16, fp8 and int8;
draws random requests for the planner; then streams report pages to services that plan nothing and keep
nothing, and to ours. A full run on the frozen set writes docs/economy.md and its plot; every other run
writes under build/.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from bench import services
from bench.bounds import Bounded, mean
from bench.card import show
from bench.economics import page, plot, rescue
from bench.economics.asking import Outcomes, ask
from bench.economics.losses import FLAT_KINDS, held, loss, measures
from bench.economics.memory import Peak
from bench.economics.policies import CONTROLLED, DRAWN, FLAT, OFF, TOLERANCE, UPLOADED, Policy
from bench.economics.report_pages import stream
from bench.economics.requests import planned
from bench.economics.views import uniform_cells
from bench.evaluation import sheets
from bench.evaluation.progress import shown
from bench.evaluation.report import write
from bench.host import ROOT, host, versions
from bench.options import Options, finish, parser
from bench.parts.flags import ONE_THREAD
from bench.result import Measure, Result
from standin import control_dir, model_dir
from standin.dataset import KINDS
from standin.frozen import SEED

PER_KIND, QUICK_PER_KIND = 180, 2
REQUESTS, QUICK_REQUESTS = 10_000, 500
STREAM, QUICK_STREAM = 64, 6
MEASURED = 12
"""Requests of the stream from which the naive side's capacity is measured."""
CONCURRENCY = 16
SMALLER = ("fp8", "int8")


def main() -> int:
    made = parser("Measure what visual tokens are worth, and what the economy saves.")
    made.add_argument("--per-kind", type=int, help=f"questions of each kind [default {PER_KIND}]")
    made.add_argument("--model", type=Path, default=model_dir(), help="checkpoint [default the stand-in]")
    made.add_argument("--part", choices=("all", "accuracy", "rescue"), default="all", help="measure one part")
    flags = made.parse_args()
    flags.per_kind = flags.per_kind or (QUICK_PER_KIND if flags.quick else PER_KIND)
    if flags.per_kind < 2:
        made.error("--per-kind must be at least 2: one answer has no bounds")
    options = Options.of(flags)
    return finish("economy", options.check, lambda: run(options, flags))


def run(options: Options, flags: argparse.Namespace) -> Result:
    digest = sheets.digest(options.seed)
    found = _promised() | _planner(options)
    facts: dict[str, Any] = {"model": flags.model.name, "per_kind": flags.per_kind, "part": flags.part}
    sides: dict[str, Any] = {"ours": {"version": versions("fovea")["fovea"], "args": ""}}
    if flags.part != "accuracy":
        told, sides["naive"] = _rescue(options, flags)
        found |= told
    if flags.part != "rescue":
        outcomes, facts = _accuracy(options, flags, digest)
        uniform = _uniform(flags.per_kind, options.seed, outcomes)
        found |= (
            measures(outcomes, options.seed) | _flat(uniform, outcomes) | _smaller(outcomes, options.seed)
        )
    result = Result(
        bench="economy",
        seed=options.seed,
        quick=options.quick,
        config={key: value for key, value in facts.items() if key not in ("dataset", "seed", "cores")},
        sides=sides,
        measures=found,
        dataset_digest=digest,
    )
    notes = [_publish(facts, outcomes, result, uniform, options, flags)] if flags.part != "rescue" else []
    show("economy", result, notes=notes)
    return result


def _promised() -> dict[str, Measure]:
    """Nothing measured yet: what a run leaves out is owed."""
    points = ("auto_loss", "flat_loss", "economy_loss", "strong_loss", "vs_random", "vs_stride", "vs_resize")
    shares = ("auto_saved", "flat_saved", "rescue_tokens", "rescue_memory")
    ratios = ("rescue_ttft", "rescue_latency")
    units = dict.fromkeys((*points, "fp8_loss", "rescue_loss"), "points")
    units |= dict.fromkeys(shares, "share") | dict.fromkeys(ratios, "ratio")
    return {name: Measure(unit, None) for name, unit in units.items()}


def _planner(options: Options) -> dict[str, Measure]:
    found = planned(QUICK_REQUESTS if options.quick else REQUESTS, options.seed)
    ms = 1000 * np.array(found.seconds)
    return {
        "over_budget": Measure("requests", found.over, found.requests, target=0, sense="at most"),
        "changed_sizes": Measure("requests", found.moved, found.requests, target=0, sense="at most"),
        "plan_ms": Measure("ms", float(np.percentile(ms, 99.9)), found.requests, target=1.0, sense="at most"),
        "plan_mean_ms": Measure.of("ms", mean(ms, options.seed)),
    }


def _accuracy(options: Options, flags: argparse.Namespace, digest: str) -> tuple[Outcomes, dict[str, Any]]:
    """Every policy with rows in bf16; then every token of the drawn pictures with smaller rows."""
    outcomes, begin = Outcomes(flags.per_kind), time.perf_counter()
    model = flags.model.resolve()
    _asked(model, options.seed, "bf16", [DRAWN, UPLOADED], outcomes)
    _asked(control_dir(), options.seed, "bf16", [CONTROLLED], outcomes)
    for dtype in SMALLER:
        _asked(model, options.seed, dtype, [[Policy(dtype, OFF.budget)]], outcomes)
    return outcomes, {
        "model": flags.model.name,
        "per_kind": flags.per_kind,
        "part": flags.part,
        "kinds": len(KINDS),
        "concurrency": CONCURRENCY,
        "seed": options.seed,
        "dataset": digest,
        "cores": host()["cores"],
        "asks": outcomes.asks,
        "seconds": round(time.perf_counter() - begin, 1),
        "tolerance": TOLERANCE,
        "row_dtypes": list(SMALLER),
    }


def _asked(
    model: Path,
    seed: int,
    dtype: str,
    groups: Sequence[Sequence[Policy]],
    outcomes: Outcomes,
) -> None:
    with tempfile.TemporaryDirectory(prefix="fovea-economy-") as folder:
        launched = services.pair(model, Path(folder), ONE_THREAD, encoder_flags=("--row-dtype", dtype))
        with services.started(launched) as running:
            running.ready()
            drawn = sheets.sheets(outcomes.per_kind, seed)
            with shown(outcomes.per_kind * len(KINDS) * sum(map(len, groups))) as heard:
                ask(launched[-1].address, drawn, groups, outcomes, CONCURRENCY, heard)


def _uniform(per_kind: int, seed: int, outcomes: Outcomes) -> dict[str, tuple[float, float]]:
    """By sort of picture: the share of squares of one colour, and how many of those were not sent."""
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(3))
    kept, full = outcomes.tokens[FLAT.name], outcomes.tokens[OFF.name]
    for sheet in sheets.sheets(per_kind, seed):
        uniform, cells = uniform_cells(sheet.image)
        for place, _ in sheet.questions:
            name = KINDS[place.kind].split("_")[0]
            sort = next((sort for sort, first in page.SORTS.items() if first == name), None)
            if sort is not None:
                dropped = full[place.kind, place.row] - kept[place.kind, place.row]
                counts[sort] += uniform, dropped, cells
    return {sort: (float(u / c), float(d / max(1.0, u))) for sort, (u, d, c) in counts.items()}


def _flat(uniform: Mapping[str, tuple[float, float]], outcomes: Outcomes) -> dict[str, Measure]:
    """Charts, tables and pages together, each sort by its questions."""
    weights = {sort: sum(kind.startswith(first) for kind in FLAT_KINDS) for sort, first in page.SORTS.items()}
    total = sum(weights[sort] * uniform[sort][0] for sort in uniform)
    dropped = sum(weights[sort] * uniform[sort][0] * uniform[sort][1] for sort in uniform)
    n = len(FLAT_KINDS) * outcomes.per_kind
    return {
        "flat_saved": Measure("share", dropped / total, n, target=0.95),
        "flat_uniform": Measure("share", total / sum(weights[sort] for sort in uniform), n),
    }


def _smaller(outcomes: Outcomes, seed: int) -> dict[str, Measure]:
    lost: dict[str, Bounded] = {dtype: loss(outcomes, OFF.name, dtype, seed=seed) for dtype in SMALLER}
    return {"fp8_loss": held("points", lost["fp8"], 0.3), "int8_loss": Measure.of("points", lost["int8"])}


def _rescue(options: Options, flags: argparse.Namespace) -> tuple[dict[str, Measure], dict[str, Any]]:
    requests = stream(QUICK_STREAM if options.quick else STREAM, options.seed)
    model = flags.model.resolve()
    with Console(stderr=True).status("the rescue case: what naive can carry") as status:
        with _loaded(model, rescue.NAIVE_ENCODER, rescue.NAIVE_DECODER) as (address, peak):
            carried = rescue.capacity(address, requests[:MEASURED], rescue.NAIVE)
            moments = rescue.arrivals(len(requests), rescue.LOAD * carried, options.seed)
        with _loaded(model, rescue.NAIVE_ENCODER, rescue.NAIVE_DECODER) as (address, peak):
            status.update(f"the rescue case: naive, {moments[-1]:.0f} s")
            naive = rescue.open_loop(address, peak, requests, moments, rescue.NAIVE)
        with _loaded(model) as (address, peak):
            status.update(f"the rescue case: ours, {moments[-1]:.0f} s")
            ours_carry = rescue.capacity(address, requests[:MEASURED], rescue.OURS)
        with _loaded(model) as (address, peak):
            ours = rescue.open_loop(address, peak, requests, moments, rescue.OURS)
    told = {
        "version": versions("fovea")["fovea"],
        "args": " ".join((*rescue.NAIVE_ENCODER, *rescue.NAIVE_DECODER)),
        "requests": len(requests),
        "requests_per_s": round(rescue.LOAD * carried, 4),
        "naive_carries_per_s": round(carried, 4),
        "ours_carries_per_s": round(ours_carry, 4),
    }
    figures = _figures("naive", naive) | _figures("ours", ours)
    return rescue.measures(naive, ours, options.seed), told | figures


@contextmanager
def _loaded(
    model: Path, encoder_flags: Sequence[str] = (), decoder_flags: Sequence[str] = ()
) -> Iterator[tuple[str, Peak]]:
    """A pair of services with an empty store: the decoder's address, and what both take from now on."""
    with tempfile.TemporaryDirectory(prefix="fovea-economy-") as folder:
        launched = services.pair(model, Path(folder), (), encoder_flags, decoder_flags)
        with services.started(launched) as running:
            running.ready()
            yield launched[-1].address, Peak([child.pid for child in running.running])


def _figures(name: str, side: rescue.Side) -> dict[str, float]:
    answers = side.answers
    return {
        f"{name}_ttft_ms": round(float(np.mean([one.ttft_ms for one in answers])), 1),
        f"{name}_latency_ms": round(float(np.mean([one.total_ms for one in answers])), 1),
        f"{name}_memory_mib": round(side.memory / 2**20, 1),
        f"{name}_right": round(float(np.mean([one.right for one in answers])), 3),
        f"{name}_tokens": round(float(np.mean([o.receipt.totals.visual_tokens for o in answers])), 1),
    }


def _publish(
    facts: Mapping[str, Any],
    outcomes: Outcomes,
    result: Result,
    uniform: Mapping[str, tuple[float, float]],
    options: Options,
    flags: argparse.Namespace,
) -> str:
    whole = flags.part == "all" and options.seed == SEED and flags.per_kind >= PER_KIND
    usual = whole and flags.model.resolve() == model_dir()
    path = ROOT / "docs" / "economy.md" if usual else ROOT / "build" / "economy" / f"{flags.model.name}.md"
    picture = Path("img") / f"{path.stem}.png" if usual else Path(f"{path.stem}.png")
    title = f"{facts['model']}: {facts['per_kind']:,} held-out questions of each kind, as drawn"
    plot.draw(path.parent / picture, outcomes, title)
    write(path, page.page(facts, outcomes, result.measures, uniform, str(picture)))
    return f"written: {path}"


if __name__ == "__main__":
    sys.exit(main())
