"""Two tenants on real services: no cross hit and no cross read at any level, and deletions that reach every level
of a single tenant.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bench.fault_cases.pairs import Callers, Pair, Secret
from fovea.client import Answer, AsyncClient, AsyncEncoderClient, Sampling, Text, errors
from fovea.server.identity import Identity, Role
from fovea.server.tokens import entry
from tests.e2e.house import LONG_WINDED, Service, decoder, encoder, free_address
from tests.e2e.pictures import picture

MIB = 1024 * 1024
SHORT = Sampling(max_new_tokens=2)
IDENTITIES = {
    "acme": Identity("acme", Role.USER),
    "other": Identity("other", Role.USER),
    "operator": Identity("ops", Role.OPERATOR),
    "decoder": Identity("default", Role.SERVICE),
}
DECODERS: dict[str, dict[str, Any]] = {
    "wire": {"same_host": False, "ledger": True},
    "arena": {"same_host": True},
    "rows": {"row_cache_bytes": 64 * MIB, "same_host": False},
    "prefix": {"prefix_cache": True, "same_host": False},
    "all": {"row_cache_bytes": 64 * MIB, "prefix_cache": True, "same_host": True},
    "pool": {"row_cache_bytes": 64 * MIB, "shared_rows": True, "same_host": False},
}


@dataclass
class Tenants:
    """An encoder with tokens, and a decoder for each level that may hold rows."""

    encoder: Service
    decoders: dict[str, Service]

    def client(self, token: str, level: str = "wire") -> AsyncClient:
        return AsyncClient(self.decoders[level].address, token, timeout_s=60.0)

    async def ask(self, token: str, image: Any, level: str = "wire") -> Answer:
        async with self.client(token, level) as client:
            return await client.ask("What is it?", [image], sampling=SHORT)

    async def encodes(self) -> int:
        async with AsyncEncoderClient(self.encoder.address, "operator") as client:
            return int((await client.info()).load["encodes"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tenants(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Tenants]:
    folder = tmp_path_factory.mktemp("tenants")
    tokens, token_file = folder / "tokens.toml", folder / "token"
    tokens.write_text("\n".join(entry(token, identity) for token, identity in IDENTITIES.items()))
    token_file.write_text("decoder")
    model = checkpoint("moe")
    first = encoder(model, folder / "store", tokens=tokens, arena_bytes=64 * MIB)
    decoders: dict[str, Service] = {}
    try:
        await first.until_ready()
        for level, changes in DECODERS.items():
            decoders[level] = decoder(
                model,
                [first.address],
                tokens=tokens,
                encoder_token_file=token_file,
                ledger_dir=folder / level,
                **changes,
            )
            await decoders[level].until_ready()
        yield Tenants(first, decoders)
    finally:
        for service in (*decoders.values(), first):
            await service.stop()


def source(answer: Answer) -> tuple[str, int, int]:
    """Where the rows of the only image came from, tokens from the KV cache, and encodes."""
    receipt = answer.receipt
    return str(receipt.images[0].source), receipt.totals.cached_prompt_tokens, receipt.totals.encodes


@pytest.mark.parametrize("level", ["wire", "arena", "rows", "prefix"])
async def test_no_level_gives_a_tenant_the_rows_of_another(tenants: Tenants, level: str) -> None:
    """The repeat of the first tenant shows that the level does hold the rows."""
    image = picture(96, 64, seed=list(DECODERS).index(level) + 100)
    assert source(await tenants.ask("acme", image, level)) == ("encoded", 0, 1)
    repeat = source(await tenants.ask("acme", image, level))
    assert (repeat[0] != "encoded", repeat[1] > 0) == (True, level == "prefix")
    assert source(await tenants.ask("other", image, level)) == ("encoded", 0, 1)


async def test_no_number_header_or_source_tells_what_another_tenant_holds(tenants: Tenants) -> None:
    """All calls of a tenant about an image, a text and a format that another tenant holds, and about others
    that nobody holds. For a second token of the holder they do differ.
    """
    callers = Callers(tenants.encoder.address, tenants.decoders["all"].address)
    pairs = [await asyncio.to_thread(_pair, callers, "other", number) for number in (0, 1)]
    assert [pair.differing() for pair in pairs] == [[], []]
    assert [(pair.hits(), pair.reads()) for pair in pairs] == [(0, 0), (0, 0)]
    own = await asyncio.to_thread(_pair, callers, "acme", 2)
    assert own.hits()
    assert own.reads()


def _pair(callers: Callers, token: str, number: int) -> Pair:
    held, fresh = Secret.draw(2 * number, 0), Secret.draw(2 * number + 1, 0)
    callers.observe("acme", held)
    return Pair(callers.observe(token, held), callers.observe(token, fresh))


async def test_ids_of_another_tenant_are_not_stored(tenants: Tenants) -> None:
    async with tenants.client("acme") as acme, tenants.client("other") as other:
        digest = (await acme.put(picture(96, 64, seed=200))).facts.digest
        assert (await acme.describe(digest)).facts.digest == digest
        with pytest.raises(errors.ImageNotStored):
            await other.describe(digest)
        with pytest.raises(errors.ImageNotStored):
            await other.ask("?", [digest])
        with pytest.raises(errors.ImageNotStored):
            await other.count("?", [digest])
        assert not (await other.put(picture(96, 64, seed=200))).already


async def test_text_of_another_tenant_is_no_prefix_hit(tenants: Tenants) -> None:
    question = "tell me " * 40
    cached = []
    for token in ("acme", "acme", "other"):
        async with tenants.client(token, "prefix") as client:
            answer = await client.ask(question, sampling=SHORT)
            cached.append(answer.receipt.totals.cached_prompt_tokens > 0)
    assert cached == [False, True, False]


async def test_a_declared_pool_shares_rows_on_the_decoder(tenants: Tenants) -> None:
    """The upload is the tenant's own all the same."""
    image = picture(96, 64, seed=300)
    await tenants.ask("acme", image, "pool")
    async with tenants.client("other", "pool") as other:
        stored = await other.put(image)
        assert not stored.already
        answer = await other.ask("What is it?", [stored.facts.digest], sampling=SHORT)
        assert answer.receipt.totals.wire_bytes == 0, "from the decoder's row cache"


async def test_a_user_sees_no_load_of_others(tenants: Tenants) -> None:
    await tenants.ask("acme", picture(96, 64, seed=400))
    async with (
        tenants.client("acme") as acme,
        tenants.client("other") as other,
        tenants.client("operator") as operator,
        aclosing(acme.stream(LONG_WINDED, sampling=Sampling(max_new_tokens=512))) as running,
    ):
        async for event in running:
            if isinstance(event, Text):
                break
        mine, seen, whole = await acme.info(), await other.info(), await operator.info()
    assert (mine.load["running"], seen.load["running"], whole.load["running"]) == (1, 0, 1)
    assert whole.load["kv_blocks_used"] > 0
    hidden = ("waiting", "running", "encodes")
    assert not any(peer.get(name) for peer in seen.details["encoders"] for name in hidden)
    assert not seen.load.get("kv_blocks_used")
    assert whole.details["encoders"][0]["encodes"] > 0
    async with AsyncEncoderClient(tenants.encoder.address, "other") as client:
        own = (await client.info()).load["encodes"]
    assert own < await tenants.encodes()


@pytest.mark.parametrize("level", ["arena", "rows", "prefix"])
@pytest.mark.parametrize("purge", [False, True])
async def test_a_deletion_reaches_every_level_of_one_tenant(
    tenants: Tenants, level: str, purge: bool
) -> None:
    image = picture(96, 64, seed=500 + 10 * purge + list(DECODERS).index(level))
    for token in ("acme", "other"):
        await tenants.ask(token, image, level)
        before = source(await tenants.ask(token, image, level))
        assert before[0] != "encoded"
    if purge:
        async with tenants.client("operator", level) as operator:
            deletion = await operator.purge("acme")
    else:
        async with tenants.client("acme", level) as acme:
            deletion = await acme.delete(image)
    assert deletion.complete
    assert [each.encoder for each in deletion.encoders] == [tenants.encoder.address]
    assert deletion.total.uploads >= 1
    assert deletion.total.records >= 1
    async with tenants.client("acme", level) as acme:
        with pytest.raises(errors.ImageNotStored):
            await acme.describe(image)
    assert source(await tenants.ask("acme", image, level)) == ("encoded", 0, 1)
    kept = source(await tenants.ask("other", image, level))
    assert (kept[0], kept[1] > 0) == (before[0], level == "prefix")


async def test_a_user_deletes_nothing_of_others_and_purges_nobody(tenants: Tenants) -> None:
    image = picture(96, 64, seed=600)
    async with tenants.client("acme") as acme, tenants.client("other") as other:
        await acme.put(image)
        deletion = await other.delete(image)
        assert (deletion.complete, deletion.total.uploads, deletion.total.records) == (True, 0, 0)
        assert (await acme.describe(image)).already
        with pytest.raises(errors.RoleNotAllowed):
            await other.purge("acme")
    async with tenants.client("operator") as operator:
        for name in ("", "a tenant", "../acme"):
            with pytest.raises(errors.InvalidArgument):
                await operator.purge(name)


async def test_the_answer_names_encoders_that_did_not_confirm(
    checkpoint: Callable[[str], Path], tenants: Tenants, tmp_path: Path
) -> None:
    token_file, down = tmp_path / "token", free_address()
    token_file.write_text("decoder")
    addresses = [tenants.encoder.address, down]
    service = decoder(checkpoint("moe"), addresses, encoder_token_file=token_file)
    try:
        await service.until_ready()
        async with AsyncClient(service.address, timeout_s=60.0) as client:
            deletion = await client.delete("sha256:" + "0" * 64)
        assert (deletion.complete, deletion.unconfirmed) == (False, (down,))
        assert {each.reason for each in deletion.encoders} == {"", "ENCODER_UNAVAILABLE"}
    finally:
        await service.stop()


async def test_log_lines_of_a_call_carry_its_tenant(
    tenants: Tenants, capsys: pytest.CaptureFixture[str]
) -> None:
    """On both services: the decoder's receipt, and the encoder's line of the call that brought the rows."""
    await tenants.ask("acme", picture(96, 64, seed=700))
    lines = capsys.readouterr().out.splitlines()
    for part in ("receipt ", "EncoderService/Encode", "EncoderService/PutImage", "DecoderService/Generate"):
        matching = [line for line in lines if part in line]
        assert matching, part
        assert all("acme" in line.split("tenant=")[-1] for line in matching), part


async def test_a_deletion_reaches_every_copy_of_an_upload(
    checkpoint: Callable[[str], Path], tenants: Tenants, tmp_path: Path
) -> None:
    """An upload lies on two encoders, and the rows wherever they were computed."""
    model, tokens, token_file = checkpoint("moe"), tmp_path / "tokens.toml", tmp_path / "token"
    tokens.write_text("\n".join(entry(token, identity) for token, identity in IDENTITIES.items()))
    token_file.write_text("decoder")
    second = encoder(model, tmp_path / "store", tokens=tokens, name="second")
    front: Service | None = None
    try:
        await second.until_ready()
        addresses = [tenants.encoder.address, second.address]
        front = decoder(model, addresses, tokens=tokens, encoder_token_file=token_file)
        await front.until_ready()
        image = picture(96, 64, seed=800)
        async with AsyncClient(front.address, "acme", timeout_s=60.0) as acme:
            stored = await acme.put(image)
            await acme.ask("?", [stored.facts.digest], sampling=SHORT)
            deletion = await acme.delete(image)
        deleted = {each.encoder: each.deleted and each.deleted.uploads for each in deletion.encoders}
        assert deleted == dict.fromkeys(addresses, 1)
        assert deletion.total.records == 1
        for address in addresses:
            async with AsyncEncoderClient(address, "acme") as client:
                with pytest.raises(errors.ImageNotStored):
                    await client.describe(stored.facts.digest)
    finally:
        for service in (front, second):
            if service is not None:
                await service.stop()


async def test_a_tenant_reads_its_own_usage_and_an_operator_that_of_all(tenants: Tenants) -> None:
    answers = {name: await tenants.ask(name, picture(seed=9100)) for name in ("acme", "other")}
    ids = {name: answer.request_id for name, answer in answers.items()}
    async with tenants.client("operator") as operator, tenants.client("acme") as acme:
        async with asyncio.timeout(60):
            while not all([await operator.get_usage(each) for each in ids.values()]):
                await asyncio.sleep(0.05)
        assert [record.tenant for record in await acme.get_usage(ids["acme"])] == ["acme"]
        assert await acme.get_usage(ids["other"]) == []
        assert {record.tenant async for record in acme.list_usage()} == {"acme"}
        assert [summary.key for summary in await acme.summarize_usage("tenant")] == ["acme"]
        assert {summary.key for summary in await operator.summarize_usage("tenant")} >= {"acme", "other"}
        assert await acme.list_anomalies() == await operator.list_anomalies() == []
        with pytest.raises(errors.TenantNotAllowed):
            await acme.list_anomalies("other")
        with pytest.raises(errors.TenantNotAllowed):
            await acme.summarize_usage(tenant="other")
        with pytest.raises(errors.TenantNotAllowed):
            await anext(acme.list_usage(tenant="other"))


async def test_a_call_without_a_token_leaves_no_record(tenants: Tenants) -> None:
    """It belongs to no tenant. The record of a later request is written after any of this one."""
    async with tenants.client("") as nobody, tenants.client("operator") as operator:
        with pytest.raises(errors.TokenMissing) as refused:
            await nobody.ask("?")
        later = await tenants.ask("acme", picture(seed=9101))
        async with asyncio.timeout(60):
            while not await operator.get_usage(later.request_id):
                await asyncio.sleep(0.05)
        assert await operator.get_usage(refused.value.request_id) == []
