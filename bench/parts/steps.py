"""How long a decode step of the native engine takes with so many sequences of such lengths.

Everything goes in and out by the engine's public face: prompts are submitted, and the deltas' own clock says
when each token was there. A step counts from the moment at which every prompt has its first token, so that no
prefill is mixed in. Knows nothing of how the engine steps.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from decoder_svc.engine.protocol import Delta, EngineRequest, Prompt, Sampling
from decoder_svc.native_engine.engine import NativeEngine

WARM_UP = 2
IDLE_POLL_S = 0.001
_numbers = itertools.count()


@dataclass(frozen=True)
class Steps:
    """Seconds of single steps; `context` tokens are read by one of them, those of all sequences."""

    seconds: tuple[float, ...]
    context: float


def text_prompt(tokens: Sequence[int]) -> Prompt:
    """A prompt without images."""
    ids = np.asarray(tokens, np.int32)
    positions = np.broadcast_to(np.arange(len(ids), dtype=np.int32), (3, len(ids)))
    return Prompt(ids, positions, len(ids))


def random_prompts(vocabulary: int, count: int, length: int, seed: int) -> list[Prompt]:
    """Below `vocabulary`, which leaves out the special tokens where those stand last."""
    ids = np.random.default_rng(seed).integers(vocabulary, size=(count, length))
    return [text_prompt(row) for row in ids]


async def decode_steps(engine: NativeEngine, prompts: Sequence[Prompt], samples: int) -> Steps:
    """Answers go on, whatever is said, until `samples` steps were seen with all of them running.

    The engine must hold all prompts at once, and `max_new_tokens` of its limits must be enough for the
    first answer to last until the last prompt has been prefilled and the steps were seen.
    """
    watch = _Watch(len(prompts), samples)
    tasks = [asyncio.create_task(_follow(engine, prompt, watch)) for prompt in prompts]
    seen = asyncio.create_task(watch.enough.wait())
    await asyncio.wait([seen, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (seen, *tasks):
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
    # What was left may be in a last step, beside whatever is timed next, and no event tells its end.
    while engine.load().running:  # noqa: ASYNC110
        await asyncio.sleep(IDLE_POLL_S)
    if not watch.enough.is_set():
        raise RuntimeError(f"an answer ended with {len(watch.seconds)} of {samples} steps seen")
    return Steps(tuple(watch.seconds), float(np.mean(watch.contexts)))


@dataclass
class _Watch:
    """What the sequences have said so far. Only the last to begin is timed: all others run by then."""

    sequences: int
    samples: int
    begun: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    contexts: list[int] = field(default_factory=list)
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    def saw(self, name: str, place: int, before: Delta, delta: Delta) -> None:
        """A later token of the sequence that began as number `place`."""
        self.lengths[name] = delta.usage.prompt_tokens + delta.usage.output_tokens
        made = delta.usage.output_tokens - before.usage.output_tokens
        if place < self.sequences or before.usage.output_tokens < WARM_UP or self.enough.is_set():
            return
        spent = delta.timings.decode_ms - before.timings.decode_ms
        self.seconds.append(spent / made / 1000)
        self.contexts.append(sum(self.lengths.values()))
        if len(self.seconds) >= self.samples:
            self.enough.set()


async def _follow(engine: NativeEngine, prompt: Prompt, watch: _Watch) -> None:
    sampling = Sampling(max_new_tokens=engine.limits.max_new_tokens, ignore_eos=True)
    name = f"steps {next(_numbers)}"
    async with aclosing(engine.submit(EngineRequest(name, prompt, sampling), [])) as deltas:
        before = await anext(deltas)
        watch.begun += 1
        place = watch.begun
        async for delta in deltas:
            if delta.usage.output_tokens > before.usage.output_tokens:
                watch.saw(name, place, before, delta)
                before = delta
