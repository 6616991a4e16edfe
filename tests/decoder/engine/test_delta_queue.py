"""What a slow reader finds when it comes back: everything, in order, in deltas that fit a message."""

from __future__ import annotations

import asyncio

import pytest

from decoder_svc.engine.delta_queue import MAX_TOKENS, DeltaQueue
from decoder_svc.engine.protocol import Delta, EngineTimings, Usage
from fovea.contract.answer import TokenLogprob


def delta(token: int, end: bool = False) -> Delta:
    return Delta(
        (token,),
        f"{token} ",
        Usage(1, 0, token),
        EngineTimings(),
        "stop" if end else None,
        None,
        (-float(token),),
        (b"%d" % token,),
        ((TokenLogprob(token, 0.0, b""),),),
    )


async def read(deltas: DeltaQueue) -> list[Delta]:
    found: list[Delta] = []
    async with asyncio.timeout(30):
        while not found or found[-1].finish_reason is None:
            found.append(await deltas.next())
    return found


@pytest.mark.parametrize("tokens", [1, MAX_TOKENS - 1, MAX_TOKENS, MAX_TOKENS + 1, 3 * MAX_TOKENS + 5])
@pytest.mark.parametrize("interval_s", [0.0, 0.01])
async def test_an_unread_answer_is_delivered_in_parts(tokens: int, interval_s: float) -> None:
    deltas = DeltaQueue(interval_s)
    for token in range(tokens):
        deltas.put(delta(token, end=token == tokens - 1))
    found = await read(deltas)
    assert [token for part in found for token in part.token_ids] == list(range(tokens))
    assert "".join(part.text for part in found) == "".join(f"{token} " for token in range(tokens))
    assert [value for part in found for value in part.logprobs] == [-float(token) for token in range(tokens)]
    assert [part.token_bytes for part in found] == [tuple(map(b"%d".__mod__, p.token_ids)) for p in found]
    assert [[each.token_id for (each,) in part.top_logprobs] for part in found] == [
        list(part.token_ids) for part in found
    ]
    assert max(len(part.token_ids) for part in found) <= MAX_TOKENS
    assert len(found) == -(-tokens // MAX_TOKENS)
    assert [part.finish_reason for part in found[:-1]] == [None] * (len(found) - 1)


async def test_deltas_queued_before_the_reader_runs_are_kept() -> None:
    """More than one part between the moment that it is woken and the moment that it runs."""
    deltas = DeltaQueue(0.0)
    reading = asyncio.create_task(read(deltas))
    await asyncio.sleep(0)
    for token in range(2 * MAX_TOKENS + 1):
        deltas.put(delta(token, end=token == 2 * MAX_TOKENS))
    assert [token for part in await reading for token in part.token_ids] == list(range(2 * MAX_TOKENS + 1))


async def test_a_later_failure_keeps_a_complete_answer() -> None:
    deltas = DeltaQueue(0.0)
    deltas.put(delta(0))
    deltas.put(delta(1, end=True))
    deltas.fail(RuntimeError("too late"))
    (whole,) = await read(deltas)
    assert whole.token_ids == (0, 1)


async def test_a_failure_before_the_end_is_raised() -> None:
    deltas = DeltaQueue(0.0)
    deltas.put(delta(0))
    deltas.fail(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        await deltas.next()
