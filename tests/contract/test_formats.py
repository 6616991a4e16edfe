"""Structured output and log-probabilities on the wire: where they are returned, and what is refused."""

from __future__ import annotations

import asyncio
import codecs
import json

import pytest

from fovea.decoder.v1 import decoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, request

ENUM = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "y"]}},
    "required": ["a"],
    "additionalProperties": False,
}


async def test_generate_and_complete_tell_the_same_tokens_and_log_probabilities(house: House) -> None:
    message = request("Which colour?", max_new_tokens=32)
    message.response_format.json_schema = json.dumps(ENUM)
    message.logprobs.SetInParent()
    events = [event async for event in house.decoder.Generate(message, timeout=CALL_S)]
    deltas = [event.delta for event in events if event.HasField("delta")]
    whole = await house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    assert json.loads(whole.text)["a"] in ("x", "y")
    assert whole.finish_reason == decoder_pb2.FINISH_REASON_STOP
    assert list(whole.token_ids) == [token for delta in deltas for token in delta.token_ids]
    assert [len(delta.logprobs) for delta in deltas] == [len(delta.token_ids) for delta in deltas]
    assert list(whole.logprobs) == pytest.approx(
        [value for delta in deltas for value in delta.logprobs], abs=1e-5
    )
    assert max(whole.logprobs) <= 0 > min(whole.logprobs)


async def test_the_likeliest_tokens_come_with_their_bytes_where_they_are_asked_for(house: House) -> None:
    message = request("Which colour?", max_new_tokens=6)
    message.logprobs.top = 20
    events = [event async for event in house.decoder.Generate(message, timeout=CALL_S)]
    deltas = [event.delta for event in events if event.HasField("delta")]
    whole = await house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    bytes_so_far = codecs.getincrementaldecoder("utf-8")("replace")  # leaves out an unfinished character
    assert bytes_so_far.decode(b"".join(whole.token_bytes)) == whole.text
    assert list(whole.token_bytes) == [token for delta in deltas for token in delta.token_bytes]
    assert [len(top.tokens) for top in whole.top_logprobs] == [20] * len(whole.token_ids)
    for token_id, logprob, top in zip(whole.token_ids, whole.logprobs, whole.top_logprobs, strict=True):
        best = top.tokens[0]  # greedy takes it
        assert (best.token_id, best.logprob) == (token_id, pytest.approx(logprob))
        assert [token.logprob for token in top.tokens] == sorted(
            (t.logprob for t in top.tokens), reverse=True
        )
    streamed = [top for delta in deltas for top in delta.top_logprobs]
    assert [[t.token_id for t in top.tokens] for top in streamed] == [
        [t.token_id for t in top.tokens] for top in whole.top_logprobs
    ]


async def test_log_probabilities_come_only_where_they_are_asked_for(house: House) -> None:
    message = request("Which colour?", max_new_tokens=4)
    whole = await house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    assert (len(whole.logprobs), bool(whole.token_ids)) == (0, True)
    assert (len(whole.token_bytes), len(whole.top_logprobs)) == (0, 0)
    message.logprobs.SetInParent()
    whole = await house.decoder.Complete(decoder_pb2.CompleteRequest(request=message), timeout=CALL_S)
    assert (len(whole.token_bytes), len(whole.top_logprobs)) == (len(whole.token_ids), 0)


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (decoder_pb2.ResponseFormat(), "response_format"),
        (decoder_pb2.ResponseFormat(json_schema=""), "response_format.json_schema"),
        (decoder_pb2.ResponseFormat(json_schema='{"type": "objct"}'), "response_format.json_schema"),
        (decoder_pb2.ResponseFormat(json_schema='{"const": "\\ud83d"}'), "response_format.json_schema"),
        (
            decoder_pb2.ResponseFormat(json_schema='{"enum": [99999999999999999999]}'),
            "response_format.json_schema",
        ),
        (decoder_pb2.ResponseFormat(regex="(a"), "response_format.regex"),
        (decoder_pb2.ResponseFormat(regex="a" * 65_537), "response_format.regex"),
        (decoder_pb2.ResponseFormat(choice=decoder_pb2.Choice()), "response_format.choice"),
    ],
    ids=["none", "empty", "schema", "half a pair", "large number", "expression", "large", "no choice"],
)
async def test_an_unsupported_format_is_refused_by_field_before_anything_starts(
    house: House, wanted: decoder_pb2.ResponseFormat, field: str
) -> None:
    message = request("?", ["sha256:" + "0" * 64], max_new_tokens=1)
    message.response_format.CopyFrom(wanted)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert (error.code, set(error.violations)) == ("INVALID_ARGUMENT", {field})


# 60 KiB that take seconds of CPU and much memory.
SLOW = "".join(f"[{chr(97 + i % 26)}-z]?" for i in range(10_000))


@pytest.mark.long
async def test_slow_formats_are_refused_while_others_are_answered(house: House) -> None:
    """As many distinct formats as asyncio has worker threads."""
    slow = [request("?", max_new_tokens=4) for _ in range(6)]
    for number, message in enumerate(slow):
        message.response_format.regex = SLOW + str(number)
    waiting = [
        asyncio.create_task(failure(house.decoder.Generate(message, timeout=CALL_S))) for message in slow
    ]
    plain = decoder_pb2.CompleteRequest(request=request("Which colour?", max_new_tokens=4))
    whole = await house.decoder.Complete(plain, timeout=CALL_S)
    assert whole.receipt.totals.output_tokens > 0
    assert not any(task.done() for task in waiting)
    limits = (await house.info()).limits
    named = {str(limits.max_format_s), str(limits.max_format_memory_bytes)}
    for error in await asyncio.gather(*waiting):
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "FORMAT_TOO_COSTLY")
        assert error.metadata["limit"] in named
        assert set(error.violations) == {"response_format.regex"}


async def test_the_limit_of_a_format_is_reported(house: House) -> None:
    assert (await house.info()).limits.max_format_bytes == 65_536
    message = request("?", max_new_tokens=1)
    message.response_format.regex = "a" * 65_537
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert (error.metadata["limit"], error.metadata["actual"]) == ("65536", "65537")
