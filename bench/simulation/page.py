"""Writes docs/scaling.md and its plot. Formats results only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from matplotlib.axes import Axes

from bench.evaluation.page import add_grid, panels, table, write_page
from bench.host import host
from bench.result import Measure
from bench.simulation import tables
from bench.simulation.calibration import Calibration
from bench.simulation.comparison import Comparison
from bench.simulation.derived import Derived
from bench.simulation.load import Load
from bench.simulation.tables import LOOPS

TEMPLATE = Path(__file__).with_name("page.md")
STAGES = {
    "decoder_put": "decoder, an upload",
    "decoder_ask": "decoder, a request up to its first token",
    "decoder_token": "decoder, each further token",
    "encoder_put": "encoder, an upload",
    "worker_put": "decoding worker, an upload",
    "encoder_hit": "encoder, stored rows",
    "encoder_new": "encoder, new rows, without the tower",
    "worker_new": "decoding worker, new rows",
}
COLOURS = {1: "#1b6ca8", 2: "#e08e26", 4: "#4aa564"}
COMPARED = (
    "encoders x decoders", "requests/s, simulated", "requests/s, real", "error", "TTFT, ms, simulated",
    "TTFT, ms, real", "error", "cores used by others",
)  # fmt: skip


def write(
    path: Path,
    known: Calibration,
    compared: Sequence[Comparison],
    derived: Derived,
    measures: Mapping[str, Measure],
    load: Load,
    seed: int,
) -> None:
    """The page, and the plot in img/ beside it."""
    plot, basis = Path("img") / f"{path.stem}.png", derived.basis
    draw(path.parent / plot, compared, derived)
    facts = {
        "machine": "{cpu}, {cores} cores".format_map(host()), "day": datetime.now(UTC).date(),
        "seed": seed, "next_seed": seed + 1, "rounds": len(compared[0].rounds), "idle": known.idle,
        **vars(load), **derived.facts,
    }  # fmt: skip
    write_page(
        path,
        TEMPLATE,
        measures,
        plot=plot,
        validation=table(COMPARED, (each.cells for each in compared)),
        stages=stages(known),
        parts=tables.parts_table(derived.plans[LOOPS[0]]),
        parts_more=tables.parts_table(derived.plans[LOOPS[-1]]),
        fleets=tables.fleets_table(derived.by_size, basis.gpu),
        bytes=tables.bytes_table(basis.model),
        stores=tables.store_table(basis.model, basis.traffic),
        **facts,
    )


def stages(known: Calibration) -> str:
    """CPU time of the stages."""
    shape, costs, ms = known.shape, known.costs, known.costs.as_ms()
    models = {
        f"tower, a picture of {shape.patches:,} patches": costs.tower_s(shape.patches),
        f"engine, a prompt of {shape.prompt} tokens": costs.step_s(0, shape.prompt),
        "engine, a step with one answer": costs.step_s(1, 0),
        "engine, a step with eight answers": costs.step_s(8, 0),
    }
    rows = [[text, f"{ms[f'{name}_ms']:.2f}"] for name, text in STAGES.items()]
    rows += [[text, f"{1000 * seconds:.2f}"] for text, seconds in models.items()]
    return table(["stage", "CPU time, ms"], rows)


def draw(path: Path, compared: Sequence[Comparison], derived: Derived) -> None:
    """Real and simulated set-ups: requests a second, TTFT. On the right, fleets of GPUs by their size."""
    with panels(path, (4, 0.08), 1, 3, figsize=(12, 4.2)) as axes:
        _draw_compared(axes[0], compared, 0, 1.0, "requests a second")
        _draw_compared(axes[1], compared, 1, 1000.0, "mean TTFT, ms")
        _draw_fleets(axes[2], derived)


def _draw_compared(axis: Axes, compared: Sequence[Comparison], which: int, scale: float, title: str) -> None:
    for decoders in sorted({each.setup.decoders for each in compared}):
        group = [each for each in compared if each.setup.decoders == decoders]
        encoders = [each.setup.encoders for each in group]
        colour, name = COLOURS[decoders], f"{decoders} decoder{'s' * (decoders > 1)}"
        real = [scale * each.real[which] for each in group]
        bars = [scale * each.half_widths[which] for each in group]
        axis.errorbar(encoders, real, bars, fmt="o", color=colour, capsize=3, label=f"{name}, real")
        simulated = [scale * each.simulated[which] for each in group]
        axis.plot(encoders, simulated, "--", color=colour, marker="x", label=f"{name}, simulated")
    axis.set_xticks(sorted({each.setup.encoders for each in compared}))
    axis.set_ylim(0)
    axis.set_xlabel("encoders, on the cores of one machine")
    axis.set_title(title, fontsize=10)
    add_grid(axis)


def _draw_fleets(axis: Axes, derived: Derived) -> None:
    for loops, plans in derived.plans.items():
        name = f"{loops} event loop{'s' * (loops > 1)} a service"
        sizes, rates = [plan.gpus for plan in plans], [plan.rate for plan in plans]
        axis.plot(sizes, rates, marker="o", color=COLOURS[loops], label=name)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("GPUs (derived, not measured)")
    axis.set_title("requests a second at 80 % of the first limit", fontsize=10)
    axis.legend(frameon=False, fontsize=8)
    add_grid(axis)
