"""Decoders as tiers of each other: tenant, parent and images travel, circles end, a dead decoder is replaced."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fovea.client import AsyncClient, Sampling, errors
from fovea.contract.usage import Outcome, UsageRecord
from fovea.decoder.v1 import decoder_pb2_grpc
from fovea.server.identity import Identity, Role
from fovea.server.tokens import entry
from tests.e2e.house import CALL_S, House, Service, decoder, encoder, free_address, read, request
from tests.e2e.pictures import picture

SHORT = Sampling(max_new_tokens=4)


def tiers(folder: Path, address: str, *lines: str) -> Path:
    """A tiers file with another decoder in front of the own model."""
    path = folder / f"{uuid.uuid4().hex}.toml"
    own = '[[tier]]\nname = "own"\nkind = "model"\n'
    path.write_text(
        "\n".join([f'[[tier]]\nname = "far"\nkind = "decoder"\naddress = "{address}"', *lines, own])
    )
    return path


@asynccontextmanager
async def running(*services: Service) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for service in services:
            stack.push_async_callback(service.stop)
        for service in services:
            await service.until_ready()
        yield


async def records_of(client: AsyncClient, request_id: str) -> list[UsageRecord]:
    """The records of a request, and of those that it caused, once they are written."""
    async with asyncio.timeout(60):
        while True:
            listed = [record async for record in client.list_usage()]
            found = [r for r in listed if request_id in (r.request_id, r.parent_request_id)]
            if found:
                return found
            await asyncio.sleep(0.1)


async def test_a_request_is_answered_there_and_its_receipt_counts_here(
    house: House, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    encoders = [house.encoder_side.address]
    far = decoder(checkpoint("moe"), encoders, ledger=True, ledger_dir=tmp_path / "far")
    near = decoder(
        checkpoint("moe"),
        encoders,
        ledger=True,
        ledger_dir=tmp_path / "near",
        tiers=tiers(tmp_path, far.address),
    )
    image, request_id = picture(seed=9700), uuid.uuid4().hex
    async with running(far, near), AsyncClient(near.address) as client, AsyncClient(far.address) as there:
        digest = (await client.put(image)).facts.digest
        for source in (digest, image):
            answer = await client.ask("What is it?", [source], sampling=SHORT, request_id=request_id)
            direct = await there.ask("What is it?", [source], sampling=SHORT)
            assert answer.text == direct.text
            assert answer.request_id == request_id
            assert answer.receipt.tier.path == ("far/moe",)
            totals, same = answer.receipt.totals, direct.receipt.totals
            assert (totals.visual_tokens, totals.text_tokens) == (same.visual_tokens, same.text_tokens)
        first = answer.token_ids[0]
        bent = Sampling(max_new_tokens=4, presence_penalty=2.0, logit_bias={first: -100.0}, top_logprobs=2)
        answer, direct = [await each.ask("What is it?", [digest], sampling=bent) for each in (client, there)]
        assert first not in answer.token_ids == direct.token_ids
        assert [len(top) for top in answer.top_logprobs] == [2] * len(answer.token_ids)
        assert answer.token_bytes == direct.token_bytes
        caused = await records_of(there, request_id)
        assert {record.parent_request_id for record in caused} == {request_id}
        assert {record.outcome for record in caused} <= {Outcome.OK, Outcome.LENGTH}


async def test_a_circle_of_decoders_ends_with_the_hop_limit(
    house: House, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    addresses, encoders = [free_address(), free_address()], [house.encoder_side.address]
    circle = [
        decoder(checkpoint("moe"), encoders, listen=own, tiers=tiers(tmp_path, other))
        for own, other in (addresses, addresses[::-1])
    ]
    async with running(*circle), AsyncClient(addresses[0]) as client:
        for hop_limit, hops in ((0, 8), (3, 3), (1, 1)):
            answer = await client.ask("What is it?", sampling=SHORT, hop_limit=hop_limit)
            (*_, last) = answer.receipt.tier.path
            assert last.split("/") == ["far"] * (hops - 1) + ["own"]


@pytest.mark.long
async def test_a_decoder_that_died_is_replaced_or_the_request_fails_by_setting(
    house: House, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    encoders = [house.encoder_side.address]
    far = decoder(checkpoint("moe"), encoders)
    falls_back = decoder(checkpoint("moe"), encoders, tiers=tiers(tmp_path, far.address))
    fails = decoder(checkpoint("moe"), encoders, tiers=tiers(tmp_path, far.address, 'on_failure = "fail"'))
    clients = AsyncClient(falls_back.address), AsyncClient(fails.address)
    async with running(falls_back, fails), clients[0] as first, clients[1] as second:
        async with running(far):
            for client in clients:
                assert (await client.ask("?", sampling=SHORT)).receipt.tier.path == ("far/moe",)
        answer = await first.ask("?", sampling=SHORT)
        assert answer.receipt.tier.path == ("far", "own")
        assert answer.receipt.tier.reasons == ("TIER_UNAVAILABLE", "last tier")
        with pytest.raises(errors.TierUnavailable, match="tier far ") as failed:
            await second.ask("?", sampling=SHORT)
        assert failed.value.retry_after_s


async def test_the_tenant_travels_with_a_token_of_role_service(
    house: House, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    """A decoder whose token may not name tenants is refused; the caller never learns of that token."""
    identities: dict[str, Any] = {
        "acme": Identity("acme", Role.USER), "near": Identity("default", Role.SERVICE),
        "user": Identity("user", Role.USER), "operator": Identity("ops", Role.OPERATOR),
    }  # fmt: skip
    (tmp_path / "tokens.toml").write_text("\n".join(entry(*each) for each in identities.items()))
    for name in ("near", "user"):
        (tmp_path / name).write_text(name)
    encoders, tokens = [house.encoder_side.address], tmp_path / "tokens.toml"
    far = decoder(checkpoint("moe"), encoders, tokens=tokens, ledger=True, ledger_dir=tmp_path / "far")
    near, wrong = (
        decoder(
            checkpoint("moe"),
            encoders,
            tokens=tokens,
            tiers=tiers(tmp_path, far.address, f'token_file = "{name}"'),
        )
        for name in ("near", "user")
    )
    request_id = uuid.uuid4().hex
    async with running(far, near, wrong):
        async with AsyncClient(near.address, "acme") as client:
            answer = await client.ask("?", sampling=SHORT, request_id=request_id)
            assert answer.receipt.tier.path == ("far/moe",)
        async with AsyncClient(far.address, "operator") as operator:
            (record,) = await records_of(operator, request_id)
            assert record.tenant == "acme"
        async with AsyncClient(wrong.address, "acme") as client:
            answer = await client.ask("?", sampling=SHORT)
            assert answer.receipt.tier.reasons == ("TIER_UNAVAILABLE", "last tier")


async def test_an_image_by_id_that_the_other_decoder_cannot_reach_is_answered_here(
    house: House, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    apart = encoder(checkpoint("moe"), tmp_path / "store")
    far = decoder(checkpoint("moe"), [apart.address])
    near = decoder(checkpoint("moe"), [house.encoder_side.address], tiers=tiers(tmp_path, far.address))
    image = picture(seed=9701)
    async with running(apart, far, near), AsyncClient(near.address) as client:
        digest = (await client.put(image)).facts.digest
        answer = await client.ask("What is it?", [digest], sampling=SHORT)
        assert answer.receipt.tier.reasons == ("IMAGE_NOT_STORED", "last tier")
        inline = request("What is it?", [picture(seed=9702)], max_new_tokens=4)
        stub = decoder_pb2_grpc.DecoderServiceStub(near.channel)
        answered = await read(stub.Generate(inline, timeout=CALL_S))
        assert list(answered.finished.receipt.tier.path) == ["far/moe"]
