"""Penalties, biases and the checkpoint's defaults through the service."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from tests.e2e.house import CALL_S, LONG_WINDED, House, decoder, read, request

Stub = decoder_pb2_grpc.DecoderServiceStub
OWN = {"temperature": 5.0, "top_k": 20, "top_p": 0.5}
NOTICE = "Reads nothing at all."


async def drawn(stub: Stub, **sampling: Any) -> list[list[int]]:
    return [await tokens(stub, seed=seed, **sampling) for seed in range(4)]


async def tokens(stub: Stub, **sampling: Any) -> list[int]:
    message = request(LONG_WINDED, max_new_tokens=48)
    message.sampling.MergeFrom(decoder_pb2.Sampling(**sampling))
    return list((await read(stub.Generate(message, timeout=CALL_S))).token_ids)


def repeated(answer: list[int]) -> float:
    """The share of tokens that the answer had before."""
    return 1 - len(set(answer)) / len(answer)


async def test_a_presence_penalty_makes_a_greedy_answer_repeat_less(house: House) -> None:
    plain = await tokens(house.decoder)
    for name in ("presence_penalty", "frequency_penalty"):
        assert repeated(await tokens(house.decoder, **{name: 2.0})) < repeated(plain), name


async def test_a_bias_bans_a_token(house: House) -> None:
    first = (await tokens(house.decoder))[0]
    assert first not in await tokens(house.decoder, logit_bias={first: -100.0})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sampling(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stub]:
    """A decoder whose checkpoint is to be sampled, and has a notice."""
    folder = tmp_path_factory.mktemp("sampled") / "model"
    shutil.copytree(house.model, folder)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | OWN | {"do_sample": True}))
    (folder / "model_notice.txt").write_text(NOTICE + "\n")
    service = decoder(Path(folder), [house.encoder_side.address], kv_tokens=1024, max_context=512)
    try:
        await service.until_ready()
        yield Stub(service.channel)
    finally:
        await service.stop()


async def test_the_checkpoints_defaults_hold_where_they_are_asked_for(sampling: Stub) -> None:
    own = await drawn(sampling, checkpoint_defaults=True)
    assert own == await drawn(sampling, **OWN) != await drawn(sampling)


@pytest.mark.parametrize("given", [{"temperature": 0.001}, {"top_k": 1}])
async def test_a_parameter_that_is_set_wins(sampling: Stub, given: dict[str, Any]) -> None:
    assert await tokens(sampling, seed=1, checkpoint_defaults=True, **given) == await tokens(sampling)


async def test_a_parameter_that_is_set_to_its_default_wins(sampling: Stub) -> None:
    """`top_p` is optional in the contract: 1 is set, not absent."""
    whole = await drawn(sampling, checkpoint_defaults=True, top_p=1.0)
    assert whole == await drawn(sampling, temperature=5.0, top_k=20)
    assert whole != await drawn(sampling, checkpoint_defaults=True)


async def test_the_notice_of_the_checkpoint_is_told(house: House, sampling: Stub) -> None:
    info = await sampling.GetServerInfo(decoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    assert info.model_notice == NOTICE
    assert (await house.info()).model_notice == ""
    assert {"presence_penalty", "logit_bias", "top_logprobs", "checkpoint_defaults"} <= {*info.features}
