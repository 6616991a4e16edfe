"""The native engine against plain transformers and against vLLM: output tokens a second, and the first token.

Each side is a process of its own, gets the same prompts with the same rows, the same dtype and the same
cores, and makes as many tokens; only one computes at a time, in turns. vLLM runs at its best: prefix caching
on, and the better of eager and compiled, tried first. Without its environment its measures are owed.
`--int8` adds our engine with weights that rest in int8, against ours: tokens a second, resident memory behind
the last round, and the share of answers that are equal token by token.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from bench import bounds
from bench.card import show
from bench.environments import vllm_environ, vllm_python
from bench.host import ROOT
from bench.options import Options, finish, parser
from bench.result import Measure, Result
from bench.sides.protocol import Round, Said, Side
from standin import model_dir

MODELS = ("standin", "medium")
CONCURRENCIES = (1, 8, 32)
TIE = 1e-4  # closer than this, the reference's two best logits are both right
GENERATE_TARGETS = {8: 4.0}
VLLM_TARGETS = {"standin": 1.2, "medium": 0.9}
TTFT_TARGET = 0.7
OURS = ("native", "int8")


@dataclass(frozen=True)
class Effort:
    """Rounds and tokens; a round asks as many questions at once as the concurrency says."""

    rounds: int = 12
    tokens: int = 64
    warm: int = 2
    compiled: bool = True  # try vLLM compiled too, which takes minutes


QUICK = Effort(rounds=6, tokens=16, warm=1, compiled=False)


@dataclass
class Found:
    """The rounds of each side, in the same turns."""

    rounds: dict[str, list[Round]] = field(default_factory=dict)
    about: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    mismatches: int = 0
    ties: int = 0
    compared: int = 0
    resident_mib: dict[str, int] = field(default_factory=dict)  # behind the last round

    def rates(self, side: str) -> list[float]:
        return [one.tokens_per_s for one in self.rounds[side]]

    def ttft(self, side: str) -> list[float]:
        return [median(said.ttft_ms for said in one.said) for one in self.rounds[side]]


def main() -> int:
    flags = parser("The native engine against transformers and vLLM, on a CPU.")
    flags.add_argument("--model", choices=MODELS, default="standin", help="[default standin]")
    flags.add_argument("--concurrency", type=int, choices=CONCURRENCIES, default=8, help="[default 8]")
    flags.add_argument("--int8", action="store_true", help="ours with int8 weights beside it")
    chosen = flags.parse_args()
    options = Options.of(chosen)
    ours = OURS if chosen.int8 else OURS[:1]
    return finish("engine", options.check, lambda: run(options, chosen.model, chosen.concurrency, ours))


def run(options: Options, model: str, concurrency: int, ours: Sequence[str]) -> Result:
    effort = QUICK if options.quick else Effort()
    with tempfile.TemporaryDirectory(prefix="fovea-engine-") as name:
        folder = Path(name)
        config = {
            "model": model,
            "concurrency": concurrency,
            "dtype": "fp32",
            "int8": "int8" in ours,
            **vars(effort),
        }
        checkpoint, config["parameters"] = _checkpoint(model)
        found = _measure(checkpoint, folder, concurrency, effort, options.seed, ours)
    result = Result(
        bench="engine",
        seed=options.seed,
        quick=options.quick,
        config=config,
        sides={name.replace("native", "ours"): _side(found, name) for name in found.about},
        measures=_measures(found, model, concurrency, options.seed),
    )
    show("engine", result, [f"{model}, {config['parameters']:,} parameters", f"concurrency {concurrency}"])
    return result


def _checkpoint(model: str) -> tuple[Path, int]:
    from bench.parts import medium  # loads torch

    folder = model_dir() if model == "standin" else medium.checkpoint(ROOT / "build" / "medium")
    return folder, medium.parameters(folder)


def _measure(
    model: Path, folder: Path, concurrency: int, effort: Effort, seed: int, ours: Sequence[str]
) -> Found:
    from bench.parts.questions import questions
    from bench.sides.material import save

    turns = [
        list(range(turn * concurrency, (turn + 1) * concurrency))
        for turn in range(effort.warm + effort.rounds)
    ]
    console = Console(stderr=True)
    with console.status("questions"):
        save(folder / "material.npz", questions(model, len(turns) * concurrency, seed))
    found = Found()
    with ExitStack() as stack, console.status("starting the sides") as status:
        sides = [_start(stack, name, model, folder, concurrency) for name in ("generate", *ours)]
        sides += _vllm(stack, model, folder, concurrency, effort, turns[: effort.warm])
        found.about = {side.name: side.about for side in sides}
        found.rounds = {side.name: [] for side in sides}
        for number, turn in enumerate(turns):
            status.update(f"round {number + 1} of {len(turns)}")
            for side in sides:
                one = side.ask(turn, effort.tokens)
                if number >= effort.warm:
                    found.rounds[side.name].append(one)
        found.resident_mib = {side.name: side.resident_mib for side in sides if side.name in OURS}
        _compare(found, sides[0], turns[effort.warm :], effort.tokens)
    return found


def _start(
    stack: ExitStack, name: str, model: Path, folder: Path, concurrency: int, eager: bool = False
) -> Side:
    """A side, loaded and stopped."""
    threads = len(os.sched_getaffinity(0))
    python = vllm_python() if name == "vllm" else Path(sys.executable)
    environ = vllm_environ(python, threads) if name == "vllm" and python else {}
    command = [str(python), "-m", "bench.sides.child", name, "--model", str(model)]
    command += ["--material", str(folder / "material.npz"), "--threads", str(threads)]
    command += ["--concurrency", str(concurrency), *(["--eager"] if eager else [])]
    log = folder / f"{name}{'-eager' if eager else ''}.log"
    return stack.enter_context(Side(name, command, {"PYTHONPATH": str(ROOT), **environ}, log))


def _vllm(
    stack: ExitStack,
    model: Path,
    folder: Path,
    concurrency: int,
    effort: Effort,
    warm: Sequence[Sequence[int]],
) -> list[Side]:
    """The better of eager and compiled by its last warm round; nothing where there is no vLLM."""
    if vllm_python() is None:
        return []
    modes = (True, False) if effort.compiled else (True,)
    tried = [_start(stack, "vllm", model, folder, concurrency, eager) for eager in modes]
    if len(tried) == 1:
        return tried
    rates = {side: [side.ask(turn, effort.tokens).tokens_per_s for turn in warm][-1] for side in tried}
    return [max(tried, key=lambda side: rates[side])]


def _compare(found: Found, judge: Side, turns: Sequence[Sequence[int]], tokens: int) -> None:
    """Our tokens with those of `generate`; where they part, it says how sure it was."""
    for turn, ours, theirs in zip(turns, found.rounds["native"], found.rounds["generate"], strict=True):
        for number, one, other in zip(turn, ours.said, theirs.said, strict=True):
            found.compared += 1
            if one.tokens != other.tokens:
                (judged,) = judge.ask([number], tokens, gaps=True).said
                tied = is_tie(one, judged)
                found.ties += tied
                found.mismatches += not tied


def is_tie(ours: Said, reference: Said) -> bool:
    """Whether the reference was undecided at the first token that differs."""
    differing = [a != b for a, b in zip(ours.tokens, reference.tokens, strict=False)]
    return True not in differing or reference.gaps[differing.index(True)] < TIE


def _measures(found: Found, model: str, concurrency: int, seed: int) -> dict[str, Measure]:
    rates, ttft = found.rates, found.ttft
    generate_target = GENERATE_TARGETS.get(concurrency)
    measures = {
        "mismatches": Measure("answers", found.mismatches, found.compared, target=0, sense="at most"),
        "vs_generate": Measure.of(
            "ratio", bounds.ratio_of_medians(rates("native"), rates("generate"), seed), generate_target
        ),
        "vs_vllm": Measure("ratio", None, target=VLLM_TARGETS[model]),
        "ttft_vs_vllm": Measure("ratio", None, target=TTFT_TARGET, sense="at most"),
    }
    if "int8" in found.rounds:
        measures["int8_tokens"] = Measure.of(
            "ratio", bounds.ratio_of_medians(rates("int8"), rates("native"), seed)
        )
        memory = found.resident_mib
        measures["int8_memory"] = Measure("ratio", memory["int8"] / memory["native"])
        pairs = [
            one.tokens == other.tokens
            for ours, theirs in zip(found.rounds["int8"], found.rounds["native"], strict=True)
            for one, other in zip(ours.said, theirs.said, strict=True)
        ]
        measures["int8_equal"] = Measure("share", sum(pairs) / len(pairs), len(pairs))
    if "vllm" in found.rounds:
        measures["vs_vllm"] = Measure.of(
            "ratio", bounds.ratio_of_medians(rates("native"), rates("vllm"), seed), VLLM_TARGETS[model]
        )
        measures["ttft_vs_vllm"] = Measure.of(
            "ratio", bounds.ratio_of_medians(ttft("native"), ttft("vllm"), seed), TTFT_TARGET, "at most"
        )
    return measures


def _side(found: Found, name: str) -> dict[str, Any]:
    """What was run, and the medians that the ratios were made of."""
    figures = {
        "tokens_per_s": round(median(found.rates(name)), 2),
        "ttft_ms": round(median(found.ttft(name)), 2),
    }
    if name in found.resident_mib:
        figures["resident_mib"] = found.resident_mib[name]
    return {**found.about[name], **figures, **({"ties": found.ties} if name == "native" else {})}


if __name__ == "__main__":
    sys.exit(main())
