"""`make eval`: how well the stand-in reads, through both services, on held-out questions.

Sends every question with the picture at native size, at half size, and with a blank picture. Writes the page
and the plot. Only a full run on the frozen set writes under docs/; all others write under build/.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from bench import runner, services
from bench.evaluation import asking, page, scores, sheets
from bench.evaluation.asking import CONCURRENCY, MAX_NEW_TOKENS, Outcomes, Policy
from bench.evaluation.sheets import VIEWS
from bench.host import ROOT, host, side
from bench.result import Result
from bench.runner import Run
from encoder_svc.settings import EncoderSettings
from fovea.client import EncoderClient
from standin import model_dir
from standin.dataset import KINDS
from standin.frozen import SEED

PER_KIND = 1000
QUICK_PER_KIND = 6
ROW_DTYPE = str(EncoderSettings.model_fields["row_dtype"].default)
POLICIES = [[Policy(view, view=view)] for view in VIEWS]
SHOWN = ("asks", "images", "encodes", "seconds", "asks_per_s")
"""Facts on the card."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    asking.add_flags(parser, PER_KIND)
    parser.add_argument("--quantization", default="none", help="the decoder's [default none]")
    parser.add_argument("--row-dtype", default=ROW_DTYPE, help=f"the encoder's [default {ROW_DTYPE}]")
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY, help="questions at a time")
    parser.add_argument("--out", type=Path, help="page to write; the plot goes to img/ beside it")


def measure(run: Run) -> Result:
    flags, digest = run.flags, sheets.digest(run.seed)
    outcomes = Outcomes(flags.per_kind or run.effort(PER_KIND, QUICK_PER_KIND))
    encodes, seconds = _ask(run, outcomes)
    facts = _facts(run, digest, outcomes, encodes, seconds)
    measures = scores.measures(outcomes.right, run.seed)
    kinds, tiers = scores.by_kind(outcomes.right), scores.by_tier(outcomes.right, run.seed)
    path = flags.out or _path(run, outcomes.per_kind)
    page.write(path, facts, kinds, tiers, measures)
    alarms = [f"better than chance with a blank image: {kind}" for kind in scores.alarms(kinds)]
    return Result(
        config={key: value for key, value in facts.items() if key not in ("dataset", "seed", "cores")},
        sides={"ours": side("fovea", " ".join(services.ONE_THREAD))},
        measures=measures,
        dataset_digest=digest,
        facts=[f"{key} {facts[key]}" for key in SHOWN],
        notes=[*alarms, f"written: {path}"],
    )


def _ask(run: Run, outcomes: Outcomes) -> tuple[int, float]:
    """Fills `outcomes`. Returns the number of tower runs and the seconds for all questions."""
    flags = run.flags
    # Several questions share few cores, so threads within a step would wait for each other.
    encoder, decoder = services.pair(
        flags.model.resolve(),
        run.folder,
        services.ONE_THREAD,
        encoder_flags=("--row-dtype", flags.row_dtype),
        decoder_flags=("--quantization", flags.quantization),
    )
    with services.started((encoder, decoder)):
        drawn = sheets.sheets(outcomes.per_kind, run.seed)
        begin = time.perf_counter()
        asking.ask(decoder.address, drawn, POLICIES, outcomes, flags.concurrency, run.status)
        seconds = time.perf_counter() - begin
        with EncoderClient(encoder.address) as client:
            return client.info().load["encodes"], seconds


def _facts(run: Run, digest: str, outcomes: Outcomes, encodes: int, seconds: float) -> dict[str, Any]:
    return {
        "model": _name(run.flags.model),
        "quantization": run.flags.quantization,
        "row_dtype": run.flags.row_dtype,
        "per_kind": outcomes.per_kind,
        "kinds": len(KINDS),
        "views": list(VIEWS),
        "concurrency": run.flags.concurrency,
        "max_new_tokens": MAX_NEW_TOKENS,
        "seed": run.seed,
        "dataset": digest,
        "cores": host()["cores"],
        "asks": outcomes.asks,
        "images": outcomes.images,
        "encodes": encodes,
        "visual_tokens": outcomes.visual_tokens,
        "output_tokens": outcomes.output_tokens,
        "seconds": round(seconds, 1),
        "asks_per_s": round(outcomes.asks / seconds, 1),
    }


def _name(model: Path) -> str:
    """The folder relative to the repository, or the name of a folder elsewhere."""
    inside = model.resolve().is_relative_to(ROOT)
    return str(model.resolve().relative_to(ROOT)) if inside else model.name


def _path(run: Run, per_kind: int) -> Path:
    flags = run.flags
    usual = (flags.model.resolve(), flags.quantization, flags.row_dtype) == (model_dir(), "none", ROW_DTYPE)
    if usual and run.seed == SEED and per_kind >= PER_KIND:
        return ROOT / "docs" / "eval.md"
    return ROOT / "build" / "eval" / f"{flags.model.name}-{flags.quantization}-{flags.row_dtype}.md"


if __name__ == "__main__":
    runner.main(
        "eval", "Score the stand-in on held-out questions, through both services.", measure, add_flags
    )
