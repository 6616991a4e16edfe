"""The decoder with FOVEA_DECODER_ENGINE=vllm gives the answers and receipts of the native engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from tests.e2e.house import Answered, request, running
from tests.e2e.pictures import some

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]
VOLATILE = {"encoder", "stagesMs", "requestId"}


def steady(answered: Answered) -> tuple[Any, ...]:
    """An answer and its receipt, without values that differ from run to run."""
    finished = MessageToDict(answered.finished)
    receipt = finished["receipt"]
    for part in (receipt, *receipt.get("images", ())):
        for name in VOLATILE & set(part):
            del part[name]
    return answered.token_ids, answered.text, finished


async def answers(model: Path, cache: Path, **changes: Any) -> tuple[list[Answered], Any]:
    asked = [
        request("How many rows?"),
        request("Read it.", some(1, seed=1)),
        request("Which?", some(2, seed=2)),
    ]
    async with running(model, cache, decoder_changes=changes) as house:
        return [await house.ask(question) for question in asked], await house.info()


async def test_answers_and_receipts_are_those_of_the_native_engine(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    native, _ = await answers(checkpoints["moe"], tmp_path / "one")
    other, info = await answers(checkpoints["moe"], tmp_path / "two", engine="vllm", enforce_eager=True)
    assert [steady(a) for a in other] == [steady(a) for a in native]
    assert "vLLM" in str(info)
    assert all(a.finished.receipt.stages_ms.prefill > 0 for a in other)
