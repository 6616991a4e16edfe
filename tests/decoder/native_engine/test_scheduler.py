"""What a step computes: nobody starves, nobody overtakes, no block is lost; without any model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder_svc.engine.clock import RequestClock
from decoder_svc.engine.protocol import EngineRequest, Prompt, Sampling
from decoder_svc.native_engine.kv import BlockManager
from decoder_svc.native_engine.request_state import RequestState
from decoder_svc.native_engine.scheduler import Scheduler, SchedulerConfig, StepChunk
from decoder_svc.sampling.state import SamplerState

BLOCK = 4


def state(name: str, prompt: int, answer: int, first: int | None = None) -> RequestState:
    """A prompt of its own, or one that begins like all others with the same `first`."""
    ids = np.full(prompt, int(name, 36) if first is None else first, np.int32)
    positions = np.zeros((3, prompt), np.int32)
    sampling = Sampling(max_new_tokens=answer)
    request = EngineRequest(name, Prompt(ids, positions, prompt), sampling)
    return RequestState(
        request, (), None, SamplerState(sampling, 10, ids), RequestClock(0.0), fetch=lambda number: None
    )


def compute(scheduler: Scheduler, chunks: list[StepChunk]) -> list[RequestState]:
    """What the worker does with a step, less the model. Returns who has ended."""
    ended = []
    scheduler.computed(chunks)
    for chunk in chunks:
        if chunk.completes:
            chunk.state.append(1)
            if chunk.state.is_full:
                ended.append(chunk.state)
    for one in ended:
        scheduler.remove(one)
    return ended


@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 24)), min_size=1, max_size=12),
    spare=st.integers(0, 20),
    chunk=st.integers(1, 30),
    slots=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_all_requests_end_even_in_a_tight_kv_cache(
    sizes: list[tuple[int, int]], spare: int, chunk: int, slots: int
) -> None:
    """With room for the largest request and little more, all requests end, in steps that keep the rules."""
    blocks = BlockManager(-(-max(p + a for p, a in sizes) // BLOCK) + spare, BLOCK)
    scheduler = Scheduler(blocks, SchedulerConfig(chunk, slots))
    everyone = [state(str(i), p, a, first=i % 3) for i, (p, a) in enumerate(sizes)]
    for one in everyone:
        scheduler.add(one)
    ended: list[RequestState] = []
    for _ in range(sum(p + a for p, a in sizes) * 20):
        chunks = scheduler.schedule(0.0)
        check_step(scheduler, chunks)
        ended += compute(scheduler, chunks)
        if len(ended) == len(everyone):
            break
    assert {id(one) for one in ended} == {id(one) for one in everyone}
    assert blocks.used == 0


def check_step(scheduler: Scheduler, chunks: list[StepChunk]) -> None:
    assert chunks, "somebody waits, and nobody is computed"
    chosen = [chunk.state for chunk in chunks]
    assert len(set(map(id, chosen))) == len(chosen)
    assert len(scheduler.running) <= scheduler.config.max_running
    assert all(s.can_decode <= (s in chosen) for s in scheduler.running), "an answer starves"
    prompts = [chunk.tokens for chunk in chunks if not chunk.state.can_decode]
    assert sum(prompts) <= scheduler.config.prefill_chunk
    assert all(c.end <= len(c.state.table) * BLOCK for c in chunks)
    held = [block for s in scheduler.running for block in s.table]
    assert len(set(held)) == scheduler.blocks.used
    own = [block for s in scheduler.running for block in s.table[len(s.serials) :]]
    assert len(own) == len(set(own)), "two write to one block"


def test_a_small_request_does_not_overtake_a_waiting_request() -> None:
    """A small request does not slip past a large one that waits for blocks."""
    scheduler = Scheduler(BlockManager(10, BLOCK), SchedulerConfig(100, 8))
    first, large, small = state("a", 20, 4), state("b", 30, 4), state("c", 2, 2)
    for one in (first, large, small):
        scheduler.add(one)
    assert [chunk.state for chunk in scheduler.schedule(0.0)] == [first]
    assert list(scheduler.waiting) == [large, small]


def test_short_prompts_pass_long_prompts_and_leave_them_half_of_a_step() -> None:
    scheduler = Scheduler(BlockManager(200, BLOCK), SchedulerConfig(16, 8))
    long, later = state("a", 60, 1), state("b", 60, 1)
    short = [state(name, 4, 1) for name in "cde"]
    for one in (long, later, *short):
        scheduler.add(one)
    steps: list[list[tuple[RequestState, int]]] = []
    for _ in range(3):
        chunks = scheduler.schedule(0.0)
        steps.append([(chunk.state, chunk.tokens) for chunk in chunks])
        compute(scheduler, chunks)
    assert steps == [
        [(short[0], 4), (short[1], 4), (long, 8)],
        [(short[2], 4), (long, 12)],
        [(long, 16)],
    ]


def test_the_youngest_request_is_preempted_and_resumes_first() -> None:
    scheduler = Scheduler(BlockManager(4, BLOCK), SchedulerConfig(100, 8))
    old, young, late = state("old", 7, 8), state("young", 7, 8), state("late", 3, 2)
    for one in (old, young, late):
        scheduler.add(one)
    while not scheduler.preemptions:
        compute(scheduler, scheduler.schedule(0.0))
    assert scheduler.running == [old]
    assert list(scheduler.waiting) == [young, late]
    assert (young.table, young.computed) == ([], 0)
    assert young.output_tokens > 0


def test_blocks_freed_twice_or_never_held_are_detected() -> None:
    blocks = BlockManager(2, BLOCK)
    table: list[int] = []
    blocks.extend(table, 5)
    with pytest.raises(RuntimeError):
        blocks.extend(table, 9)
    again = list(table)
    blocks.free(table)
    assert (table, blocks.used) == ([], 0)
    with pytest.raises(RuntimeError):
        blocks.free(again)


def test_tokens_that_are_evicted_before_a_step_uses_them_do_not_count_as_cached() -> None:
    request = state("1", 12, 4)
    request.skip(8)
    request.forget()
    request.advance(12)
    assert request.cached == 0
    other = state("2", 12, 4)
    other.skip(8)
    other.advance(12)
    assert other.cached == 8
