"""Qwen3-VL-30B-A3B on one GPU, from its published config with random weights: what tower and engine make of
it.

Needs torch, transformers, safetensors, tokenizers, numpy, Pillow, and of the others grpcio, structlog and
rich; neither LMDB nor a download. Tower, engine and the reference of transformers share one copy of the
weights.

- `encode_768`, `encode_1024`: images a second; `..._share` of the measured rate of a matrix product;
- `prefill_share`: arithmetic of a text prompt a second against that rate;
- `decode_floor_B`: the time in which the device could read what a step with B sequences must read, over the
  time the step takes: the experts that these very tokens touch, the other weights and the KV, at the measured
  bandwidth of a copy;
- `vs_generate`: tokens a second of one sequence against `generate` of transformers;
- `ttft_cold_ms`, `ttft_rows_ms`, `ttft_prefix_ms`: a picture of 1024x1024, in this process: no wire, no
  store;
- `mismatches`: tokens of a greedy answer that the reference, given the same tokens before them, would not
  have chosen, but for ties within the arithmetic's precision.

Without a GPU it runs a small config on the CPU, which proves the script and measures nothing: all figures but
`mismatches` are owed then.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from bench import bounds
from bench.bounds import Bounded
from bench.card import show
from bench.host import versions
from bench.options import Options, finish, parser
from bench.parts import gpu_run
from bench.parts.gpu_run import Effort, Found
from bench.parts.published import MODELS
from bench.result import Measure, Result
from fovea import logs

NO_GPU = "not the model and the device that are promised: its figures are owed"
PROMISED = {
    "encode_768": Measure("images/s", None),
    "encode_1024": Measure("images/s", None),
    "prefill_share": Measure("ratio", None, target=0.35),
    "decode_floor_1": Measure("ratio", None, target=0.4),
    "decode_floor_64": Measure("ratio", None, target=0.4),
    "vs_generate": Measure("ratio", None, target=5.0),
    "ttft_cold_ms": Measure("ms", None),
    "ttft_rows_ms": Measure("ms", None),
    "ttft_prefix_ms": Measure("ms", None),
    "mismatches": Measure("tokens", None, target=0.0, sense="at most"),
}

FULL = Effort(
    sides=(768, 1024),
    packed_patches=16_384,
    context=512,
    batches=(1, 8, 32, 64, 128),
    samples=32,
    prefill=4096,
    answer=64,
    rounds=8,
    copied=2**32,
    matrix=8192,
)
QUICK = replace(FULL, samples=8, rounds=3, answer=32)
SMALL = Effort(
    sides=(64, 96),
    packed_patches=64,
    context=24,
    batches=(1, 4),
    samples=4,
    prefill=64,
    answer=12,
    rounds=2,
    copied=2**20,
    matrix=64,
)


@dataclass(frozen=True)
class Place:
    """Which model, and where it runs."""

    model: str
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    @property
    def counts(self) -> bool:
        """Whether its figures are those that are promised."""
        return self.device.type == "cuda" and self.model == "30b"


def main() -> int:
    flags = _flags()
    options = Options.of(flags)
    place = Place(flags.model, torch.device(flags.device))
    return finish("gpu", options.check, lambda: run(options, place))


def _flags() -> argparse.Namespace:
    cuda = torch.cuda.is_available()
    made = parser("Measure the tower and the engine on one GPU, with random weights.")
    made.add_argument(
        "--device", default="cuda" if cuda else "cpu", help="where [default cuda if there is one]"
    )
    made.add_argument("--model", choices=MODELS, default="30b" if cuda else "small", help="the config")
    return made.parse_args()


def run(options: Options, place: Place) -> Result:
    logs.configure("console", "warning")
    effort = _effort(options, place)
    with (
        tempfile.TemporaryDirectory(prefix="fovea-gpu-") as folder,
        Console(stderr=True).status("") as status,
    ):
        setup = gpu_run.Setup(Path(folder), MODELS[place.model], place.device, place.dtype, options.seed)
        found = asyncio.run(gpu_run.measure(setup, effort, status.update))
    taken = measures(found, effort, options.seed)
    result = Result(
        bench="gpu",
        seed=options.seed,
        quick=options.quick,
        config=_config(place, effort),
        sides={
            "ours": {"version": versions("torch")["torch"], "args": found.engine},
            "generate": {"version": versions("transformers")["transformers"], "args": "one sequence, greedy"},
            "device": {"version": _name(place.device), "args": "", **vars(found.roofline)},
        },
        measures=taken if place.counts else owed(taken),
    )
    show("gpu", result, notes=[] if place.counts else [NO_GPU])
    return result


def measures(found: Found, effort: Effort, seed: int) -> dict[str, Measure]:
    """All that was found, as figures and as shares of what the device can do; what was not is owed."""
    flops_per_s, prefill_s = found.roofline.flops_per_s, found.prefill_s
    taken = {
        **_encoding(found, seed),
        "prefill_share": _median("ratio", [found.prefill_flops / s / flops_per_s for s in prefill_s], seed),
        "prefill_tokens_per_s": _median("tokens/s", [effort.prefill / s for s in prefill_s], seed),
        **_decoding(found, seed),
        "vs_generate": Measure.of("ratio", bounds.ratio_of_medians(found.generate_s, found.alone_s, seed)),
        **_first_tokens(found, seed),
        "mismatches": Measure.of("tokens", mismatches(found)),
        "memory_gib": _exactly("GiB", found.memory_bytes / 2**30),
    }
    return PROMISED | {name: _with_target(name, measure) for name, measure in taken.items()}


def _encoding(found: Found, seed: int) -> dict[str, Measure]:
    made = {}
    for side, rates in found.images_per_s.items():
        shares = [rate * found.image_flops[side] / found.roofline.flops_per_s for rate in rates]
        made[f"encode_{side}"] = _median("images/s", rates, seed)
        made[f"encode_{side}_share"] = _median("ratio", shares, seed)
    return made


def _decoding(found: Found, seed: int) -> dict[str, Measure]:
    made = {}
    for batch, steps in found.steps.items():
        floor = found.step_bytes[batch] / found.roofline.bytes_per_s
        made[f"decode_floor_{batch}"] = _median("ratio", [floor / s for s in steps.seconds], seed)
        made[f"decode_tokens_per_s_{batch}"] = _median("tokens/s", [batch / s for s in steps.seconds], seed)
    return made


def _first_tokens(found: Found, seed: int) -> dict[str, Measure]:
    heard = {name: times for name, times in vars(found.first).items() if len(times) > 1}
    return {f"ttft_{name}_ms": _median("ms", times, seed) for name, times in heard.items()}


def mismatches(found: Found) -> Bounded:
    """Tokens behind the reference's best by more than a tie. In bf16 a router may choose other experts for a
    difference in the last bits, so a tie is twice what the reference's own answer shows of it, if that is
    more; but never half of the best logit, behind which other models' tokens lie.
    """
    tokens, noise = len(found.verdicts), 2 * max(verdict.behind for verdict in found.own)
    wrong = sum(
        verdict.behind > min(max(found.tie * abs(verdict.best), noise), abs(verdict.best) / 2)
        for verdict in found.verdicts
    )
    share = bounds.share(wrong, tokens)
    return Bounded(float(wrong), tokens * share.lower, tokens * share.upper, tokens)


def owed(taken: Mapping[str, Measure]) -> dict[str, Measure]:
    """The same names without figures, but for the one that is no figure of a machine."""
    return {
        name: measure if name == "mismatches" else replace(measure, value=None, n=0, lower=None, upper=None)
        for name, measure in taken.items()
    }


def _median(unit: str, values: Sequence[float], seed: int) -> Measure:
    return Measure.of(unit, bounds.median(values, seed))


def _exactly(unit: str, value: float) -> Measure:
    """A count; 0 is none."""
    return Measure(unit, value, 1, value, value) if value else Measure(unit, None)


def _with_target(name: str, measure: Measure) -> Measure:
    wanted = PROMISED.get(name)
    return measure if wanted is None else replace(measure, target=wanted.target, sense=wanted.sense)


def _effort(options: Options, place: Place) -> Effort:
    if place.model == "small":
        return SMALL
    return QUICK if options.quick else FULL


def _config(place: Place, effort: Effort) -> dict[str, Any]:
    dtype = str(place.dtype).removeprefix("torch.")
    return {"model": place.model, "device": place.device.type, "dtype": dtype, **vars(effort)}


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


if __name__ == "__main__":
    sys.exit(main())
