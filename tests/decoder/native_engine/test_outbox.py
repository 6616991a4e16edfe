"""A slow reader gets everything, in order, in deltas that fit a message."""

from __future__ import annotations

import asyncio

import pytest

from decoder_svc.engine.protocol import Delta, EngineTimings, Usage
from decoder_svc.native_engine.delta_queue import MAX_TOKENS, DeltaQueue


def delta(token: int, end: bool = False) -> Delta:
    return Delta(
        (token,),
        f"{token} ",
        Usage(1, 0, token),
        EngineTimings(),
        "stop" if end else None,
        None,
        (-float(token),),
    )


async def read(outbox: DeltaQueue) -> list[Delta]:
    deltas: list[Delta] = []
    async with asyncio.timeout(30):
        while not deltas or deltas[-1].finish_reason is None:
            deltas.append(await outbox.next())
    return deltas


@pytest.mark.parametrize("tokens", [1, MAX_TOKENS - 1, MAX_TOKENS, MAX_TOKENS + 1, 3 * MAX_TOKENS + 5])
@pytest.mark.parametrize("interval_s", [0.0, 0.01])
async def test_an_unread_answer_is_delivered_in_parts(tokens: int, interval_s: float) -> None:
    outbox = DeltaQueue(interval_s)
    for token in range(tokens):
        outbox.put(delta(token, end=token == tokens - 1))
    deltas = await read(outbox)
    assert [token for part in deltas for token in part.token_ids] == list(range(tokens))
    assert "".join(part.text for part in deltas) == "".join(f"{token} " for token in range(tokens))
    assert [value for part in deltas for value in part.logprobs] == [-float(token) for token in range(tokens)]
    assert max(len(part.token_ids) for part in deltas) <= MAX_TOKENS
    assert len(deltas) == -(-tokens // MAX_TOKENS)
    assert [part.finish_reason for part in deltas[:-1]] == [None] * (len(deltas) - 1)


async def test_deltas_queued_before_the_reader_runs_are_kept() -> None:
    """Several deltas arrive between waking the reader and its next run."""
    outbox = DeltaQueue(0.0)
    reading = asyncio.create_task(read(outbox))
    await asyncio.sleep(0)
    for token in range(2 * MAX_TOKENS + 1):
        outbox.put(delta(token, end=token == 2 * MAX_TOKENS))
    assert [token for part in await reading for token in part.token_ids] == list(range(2 * MAX_TOKENS + 1))


async def test_a_later_failure_keeps_a_complete_answer() -> None:
    outbox = DeltaQueue(0.0)
    outbox.put(delta(0))
    outbox.put(delta(1, end=True))
    outbox.fail(RuntimeError("too late"))
    (whole,) = await read(outbox)
    assert whole.token_ids == (0, 1)


async def test_a_failure_before_the_end_is_raised() -> None:
    outbox = DeltaQueue(0.0)
    outbox.put(delta(0))
    outbox.fail(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        await outbox.next()
