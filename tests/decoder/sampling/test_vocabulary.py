"""Formats over the real vocabulary of Qwen3: its merges, normalizer and added tokens, with random weights.

The stand-in's 1,024 tokens have no merge inside of a character and hide such failures.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from decoder_svc.engine.protocol import EngineLimits, EngineRequest, Prompt, ResponseFormat, Sampling
from decoder_svc.native_engine.engine import NativeEngine
from fovea.contract.errors import FormatTooCostly
from tests import tiny
from tests.decoder.native_engine.harness import collect, settings, text
from tests.decoder.sampling.test_formats import PLENTY, SLOW

pytestmark = pytest.mark.asyncio(loop_scope="module")
OHM, ANGSTROM, DECOMPOSED = "\u2126", "\u212b", "e\u0301te\u0301"
LITERALS = (
    OHM, f"4.7 k{OHM}", ANGSTROM, DECOMPOSED, "\u1112\u1161\u11ab", "\uf900",  # not NFC
    "<|im_end|>", "a<|im_end|>b", "<think>", "</think> no", "<|image_pad|>", "<tool_call>", "<|endoftext|>",
    "日本語", "a\U0001f600b", "\r\n\t x", "  two  ", 'a"b\\c',
)  # fmt: skip
PROMPT = Prompt(np.arange(8, dtype=np.int32), np.tile(np.arange(8, dtype=np.int32), (3, 1)), 8)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NativeEngine]:
    folder = tiny.checkpoint(
        tmp_path_factory.mktemp("qwen3"), "dense", vision_depth=1, deepstack=(0,), text_layers=1,
        text_hidden=32, vocabulary=vocabulary,
    )  # fmt: skip
    limits = EngineLimits(
        max_context=512, max_new_tokens=64, max_format_s=0.5, max_format_memory_bytes=PLENTY
    )
    running = NativeEngine(settings(folder, limits=limits))
    await running.start()
    yield running
    await running.close()


async def generated(
    engine: NativeEngine, wanted: ResponseFormat, **sampling: object
) -> tuple[str, str | None]:
    """The answer and its finish reason."""
    asked = Sampling(response_format=wanted, **({"max_new_tokens": 64} | sampling))  # type: ignore[arg-type]
    deltas = await collect(engine.submit(EngineRequest(str(wanted), PROMPT, asked), []))
    return text(deltas), deltas[-1].finish_reason


@pytest.mark.long
@pytest.mark.parametrize("literal", LITERALS, ids=ascii)
async def test_any_literal_can_be_generated(engine: NativeEngine, literal: str) -> None:
    quoted = "".join(f"\\x{{{ord(char):x}}}" for char in literal)
    for kind, source in (("choice", literal), ("regex", quoted)):
        assert await generated(engine, ResponseFormat(kind, (source,))) == (literal, "stop")  # type: ignore[arg-type]
    schema = {"type": "object", "properties": {literal: {"const": literal}}, "required": [literal]}
    wanted = ResponseFormat("json_schema", (json.dumps(schema | {"additionalProperties": False}),))
    answer, ended = await generated(engine, wanted)
    assert (json.loads(answer), ended) == ({literal: literal}, "stop")


@pytest.mark.parametrize(
    ("wanted", "whole"),
    [
        (ResponseFormat("regex", ("a\U0001f600b",)), "a\U0001f600b"),
        (ResponseFormat("choice", ("\u0a95\U00020b9f",)), "\u0a95\U00020b9f"),
        (ResponseFormat("json_schema", ('{"const": "\U0001f9ff\u1c5a"}',)), '"\U0001f9ff\u1c5a"'),
    ],
    ids=["regex", "choice", "json_schema"],
)
async def test_a_cut_answer_is_the_beginning_of_a_match(
    engine: NativeEngine, wanted: ResponseFormat, whole: str
) -> None:
    """With every token limit, some of which end inside a character."""
    cut = [await generated(engine, wanted, max_new_tokens=n) for n in range(1, 12)]
    assert all(whole.startswith(answer) for answer, _ in cut)
    assert {ended for answer, ended in cut if answer != whole} == {"length"}
    assert (whole, "stop") in cut


async def test_the_limit_of_time_holds_with_as_many_tokens(engine: NativeEngine) -> None:
    with pytest.raises(FormatTooCostly, match="CPU time"):
        await engine.check_format(SLOW, "acme")
