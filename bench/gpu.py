"""Speed of tower and engine for Qwen3-VL-30B-A3B on a GPU, with random weights and the published config.

Needs torch, transformers, safetensors, tokenizers, numpy, scipy, Pillow, grpcio, structlog and rich; neither
LMDB nor a download. Tower, engine and the transformers reference share the weights.

- `encode_768`, `encode_1024`: images a second; `..._share`: as a share of the measured matrix-product rate;
- `prefill_share`: the arithmetic rate of a text prefill, as a share of the same rate;
- `decode_floor_B`: the ideal time of a decode step with B sequences over its measured time. The ideal time
  reads the touched experts, the other weights and the KV at the measured copy bandwidth;
- `vs_generate`: tokens a second of a single sequence against `generate` of transformers;
- `ttft_cold_ms`, `ttft_rows_ms`, `ttft_prefix_ms`: a picture of 1024x1024, without wire and store;
- `mismatches`: tokens of a greedy answer that the reference would not choose after the same prefix. Ties
  within the precision of the arithmetic do not count.

Without a GPU a small config runs on the CPU, to test the script. All measures but `mismatches` are owed then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from bench import bounds, runner
from bench.bounds import Bounded
from bench.host import side
from bench.parts import gpu_run
from bench.parts.gpu_run import Effort, GpuTimes, Setup
from bench.result import Measure, Result, medians
from bench.runner import Run
from fovea import logs

PUBLISHED = Path(__file__).parent / "parts" / "qwen3_vl_30b_a3b.json"
MODELS = ("30b", "small")
NO_GPU = "not the promised model and device: its measures are owed"
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


def add_flags(parser: argparse.ArgumentParser) -> None:
    cuda = torch.cuda.is_available()
    device, model = ("cuda", "30b") if cuda else ("cpu", "small")
    parser.add_argument("--device", default=device, help="device [default: cuda if available]")
    parser.add_argument("--model", choices=MODELS, default=model, help="the config")


def measure(run: Run) -> Result:
    logs.configure("console", "warning")
    model, device = run.flags.model, torch.device(run.flags.device)
    promised = device.type == "cuda" and model == "30b"
    effort = SMALL if model == "small" else run.effort(FULL, QUICK)
    config = read_config(model, run.folder / "config")
    setup = Setup(run.folder / "model", config, device, run.seed)
    times = asyncio.run(gpu_run.measure(setup, effort, run.status))
    taken = measures(times, run.seed)
    return Result(
        config={
            "model": model,
            "device": device.type,
            "dtype": str(setup.dtype).removeprefix("torch."),
            **vars(effort),
        },
        sides={
            "ours": {"version": version("torch"), "args": times.engine},
            "generate": side("transformers", "one sequence, greedy"),
            "device": {"version": setup.device_name, "args": "", **vars(times.roofline)},
        },
        measures=taken if promised else owed(taken),
        notes=[] if promised else [NO_GPU],
    )


def read_config(model: str, folder: Path) -> dict[str, Any]:
    """The config of a model; writes to `folder`. The small model has the same parts as the large model."""
    path = PUBLISHED
    if model == "small":
        from tests import tiny  # not needed on a GPU

        path = tiny.checkpoint(folder) / "config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def measures(times: GpuTimes, seed: int) -> dict[str, Measure]:
    """Everything that was measured; what is missing is owed."""
    taken = {
        "vs_generate": Measure.ratio(times.generate_s, times.single_s, seed),
        "mismatches": Measure.of("tokens", count_mismatches(times)),
        # Owed where the device does not count it.
        "memory_gib": Measure("GiB", times.memory_bytes / 2**30 or None, 1 if times.memory_bytes else 0),
    }
    for unit, samples in times.samples.items():
        taken |= medians(unit, samples, seed)
    for name, promised in PROMISED.items():
        if name in taken:
            taken[name] = replace(taken[name], target=promised.target, sense=promised.sense)
    return PROMISED | taken


def count_mismatches(times: GpuTimes) -> Bounded:
    """Tokens whose logit is below the reference's best by more than a tie.

    In bf16 a difference in the last bits may change the experts that a router selects. So a tie is at least
    twice the gap in the reference's own answer, but less than half of the best logit, which would accept the
    tokens of another model.
    """
    tokens, noise = len(times.verdicts), 2 * max(verdict.behind for verdict in times.own_verdicts)
    wrong = sum(
        verdict.behind > min(max(times.tie * abs(verdict.best), noise), abs(verdict.best) / 2)
        for verdict in times.verdicts
    )
    return bounds.share(wrong, tokens).scaled(tokens)


def owed(taken: Mapping[str, Measure]) -> dict[str, Measure]:
    """The same names without values, except for `mismatches`, which does not depend on the machine."""
    return {name: measure if name == "mismatches" else measure.owed() for name, measure in taken.items()}


if __name__ == "__main__":
    runner.main("gpu", "Measure tower and engine on a GPU, with random weights.", measure, add_flags)
