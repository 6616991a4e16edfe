"""The scheduler without a model: no request starves or is overtaken, and no block leaks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoder_svc.engine.protocol import EngineRequest, Prompt, Sampling
from decoder_svc.native_engine.kv import BlockManager
from decoder_svc.native_engine.request_state import RequestClock, RequestState
from decoder_svc.native_engine.scheduler import Chunk, Scheduler, SchedulerConfig
from decoder_svc.sampling.state import SamplerState

BLOCK = 4


def sequence(name: str, prompt: int, answer: int, first: int | None = None) -> RequestState:
    """A unique prompt, or a prompt that shares its beginning with all others of the same `first`."""
    ids = np.full(prompt, int(name, 36) if first is None else first, np.int32)
    positions = np.zeros((3, prompt), np.int32)
    sampling = Sampling(max_new_tokens=answer)
    request = EngineRequest(name, Prompt(ids, positions, prompt), sampling)
    return RequestState(
        request, (), None, SamplerState(sampling, 10, ids), RequestClock(0.0), fetch=lambda number: None
    )


def compute(scheduler: Scheduler, chunks: list[Chunk]) -> list[RequestState]:
    """The worker's part of a step, without the model. Returns the requests that ended."""
    ended = []
    scheduler.computed(chunks)
    for chunk in chunks:
        if chunk.completes:
            chunk.sequence.append(1)
            if chunk.sequence.is_full:
                ended.append(chunk.sequence)
    for state in ended:
        scheduler.remove(state)
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
    """With blocks for the largest request and few more, all requests end, in valid steps."""
    blocks = BlockManager(-(-max(p + a for p, a in sizes) // BLOCK) + spare, BLOCK)
    scheduler = Scheduler(blocks, SchedulerConfig(chunk, slots))
    everyone = [sequence(str(i), p, a, first=i % 3) for i, (p, a) in enumerate(sizes)]
    for state in everyone:
        scheduler.add(state)
    ended: list[RequestState] = []
    for _ in range(sum(p + a for p, a in sizes) * 20):
        chunks = scheduler.schedule(0.0)
        check_step(scheduler, chunks)
        ended += compute(scheduler, chunks)
        if len(ended) == len(everyone):
            break
    assert {id(state) for state in ended} == {id(state) for state in everyone}
    assert blocks.used == 0


def check_step(scheduler: Scheduler, chunks: list[Chunk]) -> None:
    assert chunks, "somebody waits, and nobody is computed"
    chosen = [chunk.sequence for chunk in chunks]
    assert len(set(map(id, chosen))) == len(chosen)
    assert len(scheduler.running) <= scheduler.rules.max_running
    assert all(s.can_decode <= (s in chosen) for s in scheduler.running), "an answer starves"
    prompts = [chunk.tokens for chunk in chunks if not chunk.sequence.can_decode]
    assert sum(prompts) <= scheduler.rules.prefill_chunk
    assert all(c.end <= len(c.sequence.table) * BLOCK for c in chunks)
    held = [block for s in scheduler.running for block in s.table]
    assert len(set(held)) == scheduler.blocks.used
    own = [block for s in scheduler.running for block in s.table[len(s.serials) :]]
    assert len(own) == len(set(own)), "two write to one block"


def test_a_small_request_does_not_overtake_a_waiting_request() -> None:
    """A small request does not overtake a large request that waits for blocks."""
    scheduler = Scheduler(BlockManager(10, BLOCK), SchedulerConfig(100, 8))
    first, large, small = sequence("a", 20, 4), sequence("b", 30, 4), sequence("c", 2, 2)
    for state in (first, large, small):
        scheduler.add(state)
    assert [chunk.sequence for chunk in scheduler.schedule(0.0)] == [first]
    assert list(scheduler.waiting) == [large, small]


def test_the_youngest_request_is_preempted_and_resumes_first() -> None:
    scheduler = Scheduler(BlockManager(4, BLOCK), SchedulerConfig(100, 8))
    old, young, late = sequence("old", 7, 8), sequence("young", 7, 8), sequence("late", 3, 2)
    for state in (old, young, late):
        scheduler.add(state)
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
