"""`make eval`: how well the stand-in reads, through the two running services, on held-out questions.

Asks every question about the picture at native size, at half size and with a blank picture instead; writes
the page and the plot, prints the tiers, and last the JSON line. The published page is written by the full
run on the frozen set alone; every other run writes under build/.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import services
from bench.card import show
from bench.evaluation import plot, report, scores, sheets
from bench.evaluation.asking import MAX_NEW_TOKENS, Tally, ask
from bench.evaluation.progress import shown
from bench.host import ROOT, host, versions
from bench.options import Options, finish, parser
from bench.result import Result
from encoder_svc.settings import EncoderSettings
from fovea.client import EncoderClient
from standin import model_dir
from standin.dataset import KINDS
from standin.frozen import SEED

PER_KIND = 1000
QUICK_PER_KIND = 6
CONCURRENCY = 16
ROW_DTYPE = str(EncoderSettings.model_fields["row_dtype"].default)
FLAGS = ("--threads", "1")
"""Of both services: with 16 questions at a time on few cores, threads within a step wait for each other."""


def main() -> int:
    flags = _flags()
    options = Options.of(flags)
    return finish("eval", options.check, lambda: run(options, flags))


def _flags() -> argparse.Namespace:
    made = parser("Score the stand-in on held-out questions through the two services.")
    made.add_argument("--per-kind", type=int, help=f"questions of each kind [default {PER_KIND}]")
    made.add_argument("--model", type=Path, default=model_dir(), help="checkpoint [default the stand-in]")
    made.add_argument("--quantization", default="none", help="the decoder's [default none]")
    made.add_argument("--row-dtype", default=ROW_DTYPE, help=f"the encoder's [default {ROW_DTYPE}]")
    made.add_argument("--concurrency", type=int, default=CONCURRENCY, help="questions at a time")
    made.add_argument("--out", type=Path, help="page to write; the plot goes to img/ beside it")
    flags = made.parse_args()
    flags.per_kind = flags.per_kind or (QUICK_PER_KIND if flags.quick else PER_KIND)
    if flags.per_kind < 2:
        made.error("--per-kind must be at least 2: one answer has no bounds")
    return flags


def run(options: Options, flags: argparse.Namespace) -> Result:
    digest = sheets.digest(options.seed)
    with tempfile.TemporaryDirectory(prefix="fovea-eval-") as folder:
        quantized = ("--quantization", flags.quantization)
        packed = ("--row-dtype", flags.row_dtype)
        encoder, decoder = services.pair(flags.model.resolve(), Path(folder), FLAGS, packed, quantized)
        with services.started((encoder, decoder)) as running:
            running.ready()
            begin = time.perf_counter()
            tally = _ask(decoder.address, options, flags)
            seconds = time.perf_counter() - begin
            with EncoderClient(encoder.address) as client:
                encodes = client.info().load["encodes"]
    facts = _facts(options, flags, digest, tally, encodes, seconds)
    result = Result(
        bench="eval",
        seed=options.seed,
        quick=options.quick,
        config={key: value for key, value in facts.items() if key not in ("dataset", "seed", "cores")},
        sides={"ours": {"version": versions("fovea")["fovea"], "args": " ".join(FLAGS)}},
        measures=scores.measures(tally.right, options.seed),
        dataset_digest=digest,
    )
    _publish(facts, tally, result, flags.out or _page(options, flags))
    return result


def _ask(address: str, options: Options, flags: argparse.Namespace) -> Tally:
    drawn = sheets.sheets(flags.per_kind, options.seed)
    with shown(flags.per_kind * len(KINDS) * len(sheets.VIEWS)) as heard:
        return ask(address, drawn, flags.per_kind, flags.concurrency, heard)


def _facts(
    options: Options, flags: argparse.Namespace, digest: str, tally: Tally, encodes: int, seconds: float
) -> dict[str, Any]:
    return {
        "model": _name(flags.model),
        "quantization": flags.quantization,
        "row_dtype": flags.row_dtype,
        "per_kind": flags.per_kind,
        "kinds": len(KINDS),
        "views": list(sheets.VIEWS),
        "concurrency": flags.concurrency,
        "max_new_tokens": MAX_NEW_TOKENS,
        "seed": options.seed,
        "dataset": digest,
        "cores": host()["cores"],
        "asks": tally.asks,
        "images": tally.images,
        "encodes": encodes,
        "visual_tokens": tally.visual_tokens,
        "output_tokens": tally.output_tokens,
        "seconds": round(seconds, 1),
        "asks_per_s": round(tally.asks / seconds, 1),
    }


def _name(model: Path) -> str:
    """The folder as seen from the repository; of a folder elsewhere its name, never its place."""
    inside = model.resolve().is_relative_to(ROOT)
    return str(model.resolve().relative_to(ROOT)) if inside else model.name


def _publish(facts: dict[str, Any], tally: Tally, result: Result, path: Path) -> None:
    """The page, the plot beside it, and the card."""
    kinds = scores.by_kind(tally.right)
    picture = Path("img") / f"{path.stem}.png"
    tiers = scores.by_tier(tally.right, result.seed)
    report.write(path, report.page(facts, kinds, tiers, result.measures, str(picture)))
    title = f"{facts['model']}: {facts['per_kind']:,} held-out questions of each kind, seed {result.seed}"
    plot.draw(path.parent / picture, kinds, title)
    notes = [f"better than chance with a blank image: {kind}" for kind in scores.alarms(kinds)]
    show("eval", result, [f"{key} {facts[key]}" for key in _SHOWN], [*notes, f"written: {path}"])


_SHOWN = ("asks", "images", "encodes", "seconds", "asks_per_s")


def _page(options: Options, flags: argparse.Namespace) -> Path:
    usual = (flags.model.resolve(), flags.quantization, flags.row_dtype) == (model_dir(), "none", ROW_DTYPE)
    if usual and options.seed == SEED and flags.per_kind >= PER_KIND:
        return ROOT / "docs" / "eval.md"
    return ROOT / "build" / "eval" / f"{flags.model.name}-{flags.quantization}-{flags.row_dtype}.md"


if __name__ == "__main__":
    sys.exit(main())
