"""What tiers are worth: requests a second and accuracy of a chain of tiers against the large model alone.

- `requests_vs_large`, `loss`: mixed traffic, with all levers on against all off; and against each lever off.
- `ceiling`, `cascade_loss`: the model cascade alone, against the bound 1 / (c + p) of its measured cost.
- `calibration_error`, `escalated`: what the threshold of `fovea calibrate` keeps on questions it never saw.
- `ocr_saved`, `ocr_loss`: text instead of pixels, on screenshots of plain text.
- `gate_ms`, `gate_accuracy`: the gate that names the kind of an image.

The small model is calibrated on questions of a seed that no other part uses. Accuracies are paired: every
side gets the same requests. All requests carry their files, as those of real callers do.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from bench import runner
from bench.gating import measure as gating
from bench.parts.ocr import measure_ocr
from bench.result import Measure, Result
from bench.runner import Run
from bench.tiers import alone, mixed
from bench.tiers.labelled import write_questions
from bench.tiers.part import Part
from bench.tiers.sides import CALLERS, Sides
from bench.tiers.traffic import CASCADE, traffic
from fovea.contract.errors import TextReaderMissing
from standin import model_dir, small_dir

PARTS = ("mixed", "cascade", "calibration", "ocr", "gate")
PROMISED = {
    "requests_vs_large": Measure("ratio", None, target=mixed.TARGET),
    "loss": Measure("points", None, target=mixed.MOST_LOST, sense="at most"),
    "ceiling": Measure("ratio", None, target=alone.CEILING),
    "cascade_loss": Measure("points", None, target=mixed.MOST_LOST, sense="at most"),
    "calibration_error": Measure("points", None, target=alone.MOST_MISSED, sense="at most"),
    "escalated": Measure("share", None, target=alone.MOST_ESCALATED, sense="at most"),
    "ocr_saved": Measure("share", None, target=0.7),
    "ocr_loss": Measure("points", None, target=0.0, sense="at most"),
    "gate_ms": Measure("ms", None, target=5.0, sense="at most"),
    "gate_accuracy": Measure("share", None, target=0.95),
}
"""Measures that a run leaves out are owed."""
CALIBRATED, QUICK_CALIBRATED = (2000, 0.99), (160, 0.95)
"""Labelled questions, and the wanted accuracy of kept answers relative to the large model's; a high one needs
many questions.
"""
CALIBRATION_SEED = 500
"""No round of a part has it."""
BY_TIERS = {"mixed", "cascade", "calibration"}
"""The parts that start services with tiers."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    help_text = "measure a part; cascade and calibration share their rounds"
    parser.add_argument("--part", choices=("all", *PARTS), default="all", help=help_text)


def measure(run: Run) -> Result:
    wanted = set(PARTS) if run.flags.part == "all" else {run.flags.part}
    taken = list(_by_tiers(run, wanted)) if wanted & BY_TIERS else []
    taken += [part(run) for name, part in ALONE.items() if name in wanted]
    config = {
        "model": model_dir().name,
        "small": small_dir().name,
        "part": run.flags.part,
        "callers": CALLERS,
    }
    return Result(
        config | {key: value for part in taken for key, value in part.config.items()},
        {name: side for part in taken for name, side in part.sides.items()},
        PROMISED | {name: measured for part in taken for name, measured in part.measures.items()},
        notes=[note for part in taken for note in part.notes],
    )


def _by_tiers(run: Run, wanted: set[str]) -> Iterator[Part]:
    sides = Sides(run)
    questions, accuracy = run.effort(CALIBRATED, QUICK_CALIBRATED)
    labelled = traffic(CASCADE, questions, 1000 * run.seed + CALIBRATION_SEED)
    sides.calibrate(write_questions(labelled, run.folder / "labelled"), accuracy)
    if wanted & {"cascade", "calibration"}:
        yield alone.measure(run, sides, accuracy)
    if "mixed" in wanted:
        yield mixed.measure(run, sides)


def _ocr(run: Run) -> Part:
    """Text instead of pixels; owed where no reader is installed."""
    try:
        read = measure_ocr(run)
    except TextReaderMissing as missing:
        return Part({}, notes=[str(missing)])
    names = {
        "ocr_saved": "tokens_saved",
        "ocr_loss": "answers_text_less_pixels",
        "ocr_cpu_s": "cpu_s",
        "ocr_break_even_price": "break_even_price",
    }
    measures = {name: read.measures[own] for name, own in names.items()}
    return Part(measures, notes=[*read.facts, *read.notes])


def _gate(run: Run) -> Part:
    judged = gating.measure(run)
    return Part(dict(judged.measures), notes=list(judged.notes))


ALONE = {"ocr": _ocr, "gate": _gate}
"""The parts that start no service."""


if __name__ == "__main__":
    runner.main("cascade", "Measure what tiers of models are worth.", measure, add_flags)
