"""What one device does with tower, engine and reference, a figure after the other.

Every function measures one thing and gives a value a turn; sides that are compared take turns within it.
Knows no target and no share: those are arithmetic over these times.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.parts.in_process import GEOMETRY, Encoded, Words, answer, encode, first_delta, picture
from bench.parts.reference import Reference, Verdict
from bench.parts.steps import Steps, decode_steps, random_prompts
from bench.turns import ms_since
from decoder_svc.engine.protocol import Delta, Prompt
from decoder_svc.native_engine.engine import NativeEngine
from encoder_svc.vision.preprocess import patches
from encoder_svc.vision.tower import Tower
from fovea.contract.rows import RowDtype

TEXT = 48
"""Tokens of text on each side of a picture."""
_seeds = itertools.count()


@dataclass
class FirstTokens:
    """Milliseconds, a value a turn. `prefix` stays empty where the engine reuses no KV of a picture."""

    cold: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    prefix: list[float] = field(default_factory=list)


def images_per_s(tower: Tower, side: int, at_once: int, rounds: int, seed: int) -> list[float]:
    """The tower alone, preprocessing left out, `at_once` pictures packed in a call."""
    images = [patches(picture(seed + at, side), GEOMETRY) for at in range(at_once)]
    tower.encode(images, RowDtype.BF16)  # not counted: chooses its kernels
    rates = []
    for _ in range(rounds):
        begin = time.perf_counter()
        tower.encode(images, RowDtype.BF16)
        rates.append(at_once / (time.perf_counter() - begin))
    return rates


async def judged(
    tower: Tower, engine: NativeEngine, reference: Reference, words: Words, side: int, tokens: int, seed: int
) -> tuple[list[Verdict], list[Verdict]]:
    """Two greedy answers about a picture, the engine's and that of `generate`, judged token by token by the
    reference that has seen the same tokens. How it judges its own says what its arithmetic is good for.
    """
    encoded = encode(tower, picture(seed, side), RowDtype.FP32)
    prompt = words.about(encoded, words.random(TEXT, seed + 1), words.random(TEXT, seed + 2))
    answers = (
        await answer(engine, prompt, encoded, tokens),
        reference.answer(prompt.token_ids, encoded.image, tokens),
    )
    ours, own = (reference.verdicts(prompt.token_ids, encoded.image, said) for said in answers)
    return ours, own


async def prefill_s(engine: NativeEngine, words: Words, length: int, rounds: int, seed: int) -> list[float]:
    """Seconds from the slot to the first token of a text of `length` tokens, by the engine's clock."""
    times = []
    for turn in range(rounds + 1):
        (prompt,) = random_prompts(words.plain, 1, length, 31 * seed + turn)
        delta, _ = await first_delta(engine, prompt, None)
        times.append(delta.timings.prefill_ms / 1000)
    return times[1:]  # the first chooses its kernels


async def steps_and_generate(
    engine: NativeEngine, reference: Reference, prompt: Prompt, samples: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds a token with one sequence: of the engine and of `generate`, in turns, on the same prompt."""
    ours, theirs = [], []
    for turn in range(rounds + 1):
        steps = await decode_steps(engine, [prompt], samples)
        generated = reference.token_seconds(prompt.token_ids, samples)
        if turn:
            ours.append(float(np.median(steps.seconds)))
            theirs.append(generated)
    return ours, theirs


async def decode(engine: NativeEngine, prompts: Sequence[Prompt], samples: int) -> Steps:
    """Once not counted: the engine meets a new batch size."""
    await decode_steps(engine, prompts, 2)
    return await decode_steps(engine, prompts, samples)


async def first_tokens(
    tower: Tower, engine: NativeEngine, words: Words, side: int, rounds: int, seed: int
) -> FirstTokens:
    """Cold is preprocessing, tower and prefill; rows are at hand in memory for the others. Behind a text that
    nobody has used no KV of the picture can be reused, at the front it can.
    """
    found = FirstTokens()
    for turn in range(rounds + 1):
        rgb, begin = picture(1000 * (seed + 1) + turn, side), time.perf_counter()
        encoded = encode(tower, rgb, RowDtype.BF16)
        key = encoded.rows[:32]
        await first_delta(engine, words.about(encoded, [], _text(words), key), encoded)
        cold = ms_since(begin)
        _, rows = await first_delta(engine, words.about(encoded, _text(words), _text(words), key), encoded)
        again, prefix = await first_delta(engine, words.about(encoded, [], _text(words), key), encoded)
        if turn:  # the first chooses its kernels
            found.cold.append(cold)
            found.rows.append(rows)
            found.prefix += [prefix] if _reused(again, encoded) else []
    return found


def _text(words: Words) -> list[int]:
    return words.random(TEXT, next(_seeds))


def _reused(delta: Delta, encoded: Encoded) -> bool:
    """All of the picture but what does not fill a page."""
    return delta.usage.cached_prompt_tokens >= encoded.count / 2
