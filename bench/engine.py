"""The native engine against transformers and vLLM: output tokens a second, and time to first token.

Each side is a process with the same prompts, rows, dtype and cores, and generates the same number of tokens.
The sides take turns, so that a single side runs at a time. vLLM runs with prefix caching, in the faster of
its eager and compiled modes; without its environment its measures are owed. `--int8` adds our engine with
int8 weights and compares it with our engine in fp32: tokens a second, resident memory after the last round,
and the share of answers that are equal token by token.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench import runner
from bench.host import ROOT
from bench.parts import medium
from bench.parts.photo import photo, to_patches
from bench.parts.timing import Round
from bench.result import Measure, Result
from bench.runner import Run
from bench.sides.side import Answer, Question, Side, vllm_environ, vllm_python
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart
from encoder_svc.vision.tower import Tower
from fovea.contract.rows import RowDtype
from fovea.geometry import Geometry
from fovea.machine import cores
from standin import model_dir
from standin.lexicon import WORDS

MODELS = ("standin", "medium")
CONCURRENCIES = (1, 8, 32)
TIE = 1e-4
"""If the reference's two best logits are closer than this, both tokens are right."""
SIDE = 256
WORD_COUNT = 17
GENERATE_TARGETS = {8: 4.0}
VLLM_TARGETS = {"standin": 1.2, "medium": 0.9}
TTFT_TARGET = 0.7
OURS = ("native", "int8")


@dataclass(frozen=True)
class Effort:
    """Rounds and tokens. A round sends as many questions at once as the concurrency."""

    rounds: int = 12
    tokens: int = 64
    warm: int = 2
    compiled: bool = True  # try vLLM compiled too, which takes minutes


QUICK = Effort(rounds=6, tokens=16, warm=1, compiled=False)


@dataclass
class Times:
    """The rounds of each side, in the same turns, and how our answers compare with those of `generate`."""

    rounds: dict[str, list[Round]] = field(default_factory=dict)
    descriptions: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    mismatches: int = 0
    ties: int = 0
    compared: int = 0
    resident_mib: dict[str, int] = field(default_factory=dict)  # after the last round

    def rates(self, side: str) -> list[float]:
        """Empty if the side did not run."""
        return [timed.tokens_per_s for timed in self.rounds.get(side, ())]

    def ttft(self, side: str) -> list[float]:
        return [median(timed.ttft_ms) for timed in self.rounds.get(side, ())]


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", choices=MODELS, default="standin", help="[default standin]")
    parser.add_argument("--concurrency", type=int, choices=CONCURRENCIES, default=8, help="[default 8]")
    parser.add_argument("--int8", action="store_true", help="also our engine with int8 weights")


def measure(run: Run) -> Result:
    effort, model, concurrency = run.effort(Effort(), QUICK), run.flags.model, run.flags.concurrency
    checkpoint = model_dir() if model == "standin" else medium.checkpoint(ROOT / "build" / "medium")
    parameters = medium.count_parameters(checkpoint)
    times = _Comparison(run, effort, checkpoint).times()
    return Result(
        config={
            "model": model,
            "concurrency": concurrency,
            "dtype": "fp32",
            "int8": run.flags.int8,
            **vars(effort),
            "parameters": parameters,
        },
        sides={name.replace("native", "ours"): _side(times, name) for name in times.descriptions},
        measures=measures(times, model, concurrency, run.seed),
        facts=[f"{model}, {parameters:,} parameters", f"concurrency {concurrency}"],
    )


class _Comparison:
    """A run of all sides on the same questions, a list of them for each turn."""

    def __init__(self, run: Run, effort: Effort, checkpoint: Path) -> None:
        self._run, self._effort, self._checkpoint = run, effort, checkpoint
        self._concurrency = run.flags.concurrency
        self._turns = self._draw_turns()

    def times(self) -> Times:
        ours = OURS if self._run.flags.int8 else OURS[:1]
        self._run.status("starting the sides")
        sides = [self._start(name) for name in ("generate", *ours)] + self._start_vllm()
        times = Times(descriptions={side.name: side.description for side in sides})
        self._ask(sides, times)
        times.resident_mib = {side.name: side.resident_mib for side in sides if side.name in OURS}
        self._compare(times, reference=sides[0])
        return times

    def _draw_turns(self) -> list[Sequence[Question]]:
        self._run.status("questions")
        turns, size = self._effort.warm + self._effort.rounds, self._concurrency
        questions = draw_questions(self._checkpoint, turns * size, self._run.seed)
        return [questions[turn * size : (turn + 1) * size] for turn in range(turns)]

    def _start(self, name: str, *options: str) -> Side:
        """A side, loaded and suspended."""
        python, environ = Path(sys.executable), dict[str, str]()
        if name == "vllm" and (peer := vllm_python()):
            python, environ = peer, vllm_environ(peer, cores())
        command = [str(python), "-m", "bench.sides.child", name, "--model", str(self._checkpoint)]
        command += ["--threads", str(cores()), "--concurrency", str(self._concurrency), *options]
        log = self._run.folder / f"{name}{''.join(options)}.log"
        return self._run.stack.enter_context(Side(name, command, {"PYTHONPATH": str(ROOT), **environ}, log))

    def _start_vllm(self) -> list[Side]:
        """The better of eager and compiled by its last warm round; nothing without an environment of vLLM."""
        if vllm_python() is None:
            return []
        modes = (("--eager",), ()) if self._effort.compiled else (("--eager",),)
        return [max((self._start("vllm", *mode) for mode in modes), key=self._warm_rate)]

    def _warm_rate(self, side: Side) -> float:
        warm = self._turns[: self._effort.warm]
        return [side.ask(questions, self._effort.tokens).tokens_per_s for questions in warm][-1]

    def _ask(self, sides: Sequence[Side], times: Times) -> None:
        times.rounds = {side.name: [] for side in sides}
        for number, questions in enumerate(self._turns):
            self._run.status(f"round {number + 1} of {len(self._turns)}")
            for side in sides:
                timed = side.ask(questions, self._effort.tokens)
                if number >= self._effort.warm:
                    times.rounds[side.name].append(timed)

    def _compare(self, times: Times, reference: Side) -> None:
        """Compare our tokens with those of `generate`. If they differ, its logit gaps decide on ties."""
        turns, rounds = self._turns[self._effort.warm :], times.rounds
        for questions, ours, theirs in zip(turns, rounds["native"], rounds["generate"], strict=True):
            for question, our, their in zip(questions, ours.answers, theirs.answers, strict=True):
                times.compared += 1
                if our.tokens != their.tokens:
                    (judged,) = reference.ask([question], self._effort.tokens, gaps=True).answers
                    tied = is_tie(our, judged)
                    times.ties += tied
                    times.mismatches += not tied


def draw_questions(model: Path, count: int, seed: int) -> list[Question]:
    """About different pictures of 256 x 256, 64 visual tokens each, with different texts of about 45 tokens.

    A side can therefore reuse only the few tokens that every chat begins with. The encoder's tower computes
    the rows here, once; no side runs a tower.
    """
    tower = Tower.load(model)
    geometry, builder = Geometry.from_checkpoint(model), PromptBuilder(model)
    return [_question(tower, geometry, builder, 7_000_003 * (seed + 1) + number) for number in range(count)]


def _question(tower: Tower, geometry: Geometry, builder: PromptBuilder, seed: int) -> Question:
    image = to_patches(photo(seed, SIDE), geometry)
    (encoded,) = tower.encode([image], RowDtype.FP32)
    text = " ".join(np.random.default_rng(seed).choice(WORDS, WORD_COUNT))
    messages = (ChatMessage("user", (ImagePart(0), TextPart(text))),)
    prompt = builder.build(messages, [image.grid_thw], keys=[str(seed).encode()])
    values = np.frombuffer(encoded.rows, np.float32).reshape(prompt.images[0].rows, -1)
    return Question(prompt, values)


def is_tie(ours: Answer, reference: Answer) -> bool:
    """Whether the reference was undecided at the first token that differs."""
    differing = [a != b for a, b in zip(ours.tokens, reference.tokens, strict=False)]
    return True not in differing or reference.gaps[differing.index(True)] < TIE


def measures(times: Times, model: str, concurrency: int, seed: int) -> dict[str, Measure]:
    """Measures of a side that did not run are owed, except for int8, which is measured on request only."""
    ours, vllm, ttft = times.rates("native"), times.rates("vllm"), times.ttft
    generate_target = GENERATE_TARGETS.get(concurrency)
    taken = {
        "mismatches": Measure("answers", times.mismatches, times.compared, target=0, sense="at most"),
        "vs_generate": Measure.ratio(ours, times.rates("generate"), seed, generate_target),
        "vs_vllm": Measure.ratio(ours, vllm, seed, VLLM_TARGETS[model]),
        "ttft_vs_vllm": Measure.ratio(ttft("native"), ttft("vllm"), seed, TTFT_TARGET, "at most"),
    }
    return taken | (_int8_measures(times, seed) if "int8" in times.rounds else {})


def _int8_measures(times: Times, seed: int) -> dict[str, Measure]:
    memory = times.resident_mib
    equal = [
        int8.tokens == native.tokens
        for rounds in zip(times.rounds["int8"], times.rounds["native"], strict=True)
        for int8, native in zip(*(timed.answers for timed in rounds), strict=True)
    ]
    return {
        "int8_tokens": Measure.ratio(times.rates("int8"), times.rates("native"), seed),
        "int8_memory": Measure("ratio", memory["int8"] / memory["native"]),
        "int8_equal": Measure("share", sum(equal) / len(equal), len(equal)),
    }


def _side(times: Times, name: str) -> dict[str, Any]:
    """What was run, and the medians that the ratios are made of."""
    figures = {
        "tokens_per_s": round(median(times.rates(name)), 2),
        "ttft_ms": round(median(times.ttft(name)), 2),
    }
    if name in times.resident_mib:
        figures["resident_mib"] = times.resident_mib[name]
    return {**times.descriptions[name], **figures, **({"ties": times.ties} if name == "native" else {})}


if __name__ == "__main__":
    runner.main("engine", "The native engine against transformers and vLLM, on a CPU.", measure, add_flags)
