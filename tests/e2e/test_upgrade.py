"""This version beside the last tagged version: services, stores and Python clients of both.

The old services are processes, run from their own sources; those of this version run in the tests' loop.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from fovea.decoder.v1 import decoder_pb2, decoder_pb2_grpc
from fovea.encoder.v1 import encoder_pb2, encoder_pb2_grpc
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, Service, decoder, digest_of, encoder, read, request
from tests.e2e.pictures import picture
from tests.e2e.versions import THIS, NoHistory, Version, last_tagged, module_files, started

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]
Make = Callable[[str], Path]
Stub = decoder_pb2_grpc.DecoderServiceStub
TOKENS = 8
IMAGES = [picture(60 + 40 * at, 90, seed=700 + at) for at in range(4)]
CLIENT = """
import json, sys
from fovea.client import Client, Sampling, errors

files = sys.argv[2:]
with Client(sys.argv[1], timeout_s=120) as client:
    stored = client.put(files[0])
    answer = client.ask("What?", files, sampling=Sampling(max_new_tokens=8))
    count = client.count("What?", files)
    try:
        client.describe("sha256:" + "0" * 64)
    except errors.ImageNotStored as error:
        missing = type(error).__name__
    print(json.dumps({
        "digest": stored.facts.digest, "text": answer.text, "finish": answer.finish_reason,
        "visual": answer.receipt.totals.visual_tokens, "counted": count.visual_tokens,
        "prompt": count.prompt_tokens, "missing": missing, "state": client.info().state,
    }))
"""


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> Version:
    try:
        return last_tagged(tmp_path_factory.mktemp("tagged"))
    except NoHistory as error:
        pytest.skip(str(error))  # in CI too: a checkout without history has no older version


@pytest.fixture(scope="module")
def model(checkpoint: Make) -> Path:
    return checkpoint("moe")


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Service]:
    try:
        await service.until_ready()
        yield service
    finally:
        await service.stop()


@asynccontextmanager
async def stub_of(address: str) -> AsyncIterator[Stub]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield Stub(channel)


async def ask(stub: Stub, *images: bytes | str) -> list[int]:
    call = stub.Generate(request("What?", images, max_new_tokens=TOKENS), timeout=CALL_S)
    return (await read(call)).token_ids


async def put(stub: Stub, data: bytes) -> str:
    header = decoder_pb2.PutImageHeader(digest=digest_of(data))
    reply = await stub.PutImage(iter([decoder_pb2.PutImageRequest(header=header, data=data)]), timeout=CALL_S)
    return str(reply.facts.digest)


async def answers(address: str) -> list[list[int]]:
    """Token ids for inline images, for stored images, for all of them in a request, and for text alone."""
    async with stub_of(address) as stub:
        inline = [await ask(stub, image) for image in IMAGES]
        stored = [await ask(stub, await put(stub, image)) for image in IMAGES]
        return [*inline, *stored, await ask(stub, *IMAGES), await ask(stub)]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def old_encoder(
    tagged: Version, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    async with started(tagged.encoder(model, tmp_path_factory.mktemp("old"))) as process:
        yield process.address


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def new_encoder(model: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    async with serving(encoder(model, tmp_path_factory.mktemp("new"))) as service:
        yield service.address


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def expected(model: Path, new_encoder: str) -> list[list[int]]:
    """The answers of this version alone."""
    async with serving(decoder(model, [new_encoder])) as service:
        return await answers(service.address)


def test_the_tagged_version_runs_its_own_sources(tagged: Version) -> None:
    for version in (tagged, THIS):
        assert all(file.is_relative_to(version.source) for file in module_files(version))


async def test_a_new_decoder_and_an_old_encoder_give_the_same_answers(
    model: Path, old_encoder: str, expected: list[list[int]]
) -> None:
    async with serving(decoder(model, [old_encoder])) as service:
        assert await answers(service.address) == expected


async def test_an_old_decoder_and_a_new_encoder_give_the_same_answers(
    tagged: Version, model: Path, new_encoder: str, expected: list[list[int]], tmp_path: Path
) -> None:
    async with started(tagged.decoder(model, tmp_path, [new_encoder])) as process:
        assert await answers(process.address) == expected


async def test_a_fleet_of_both_versions_gives_the_same_answers(
    model: Path, old_encoder: str, new_encoder: str, expected: list[list[int]]
) -> None:
    """As in the middle of an upgrade. Uploads lie on encoders of both versions."""
    async with serving(decoder(model, [old_encoder, new_encoder])) as service:
        assert await answers(service.address) == expected
    for address in (old_encoder, new_encoder):
        async with grpc.aio.insecure_channel(address) as channel:
            stub = encoder_pb2_grpc.EncoderServiceStub(channel)
            for image in IMAGES:
                await stub.DescribeImage(
                    encoder_pb2.DescribeImageRequest(digest=digest_of(image)), timeout=CALL_S
                )


async def test_a_store_serves_the_next_version_and_the_version_before(
    tagged: Version, model: Path, expected: list[list[int]], tmp_path: Path
) -> None:
    """An upgrade and its rollback. Rows of another revision are computed again, never served."""
    for _ in range(2):
        async with started(tagged.encoder(model, tmp_path)) as process:
            async with serving(decoder(model, [process.address])) as service:
                assert await answers(service.address) == expected
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
        async with (
            serving(encoder(model, tmp_path / "store")) as newer,
            serving(decoder(model, [newer.address])) as service,
        ):
            assert await answers(service.address) == expected
    assert not (tmp_path / "store" / "env.set-aside").exists()


async def run_client(version: Version, address: str, files: list[str]) -> dict[str, object]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, address, *files,
        cwd=version.source, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), CALL_S)
    assert process.returncode == 0, err.decode()
    return dict(json.loads(out))


async def test_python_clients_and_decoders_of_both_versions(
    tagged: Version, model: Path, new_encoder: str, tmp_path: Path
) -> None:
    files = [tmp_path / f"{at}.png" for at in range(len(IMAGES))]
    for file, image in zip(files, IMAGES, strict=True):
        file.write_bytes(image)
    async with (
        started(tagged.decoder(model, tmp_path, [new_encoder])) as old,
        serving(decoder(model, [new_encoder])) as new,
    ):
        first, *others = [
            await run_client(version, address, list(map(str, files)))
            for version in (THIS, tagged)
            for address in (new.address, old.address)
        ]
    assert first["missing"] == "ImageNotStored"
    assert first["visual"] == first["counted"]
    assert others == [first] * 3


@pytest.mark.parametrize(
    "reduction",
    [
        decoder_pb2.Reduction(keep=0.5),
        decoder_pb2.Reduction(flat_tolerance=2),
        decoder_pb2.Reduction(mode=decoder_pb2.REDUCTION_MODE_AUTO),
    ],
    ids=["keep", "flat", "auto"],
)
async def test_a_call_that_an_old_encoder_lacks_is_a_typed_error_or_goes_to_a_new_encoder(
    model: Path, old_encoder: str, new_encoder: str, reduction: decoder_pb2.Reduction
) -> None:
    async def ask_for_less(stub: Stub) -> list[int]:
        message = request("What?", [await put(stub, IMAGES[3])], max_new_tokens=TOKENS)
        message.visual.reduction.CopyFrom(reduction)
        return (await read(stub.Generate(message, timeout=CALL_S))).token_ids

    async with serving(decoder(model, [old_encoder])) as service, stub_of(service.address) as stub:
        error = await failure(ask_for_less(stub))
        assert (error.code, error.reason) == ("UNIMPLEMENTED", "NOT_SERVED")
        assert "earlier version" in error.message
    both = decoder(model, [old_encoder, new_encoder])
    async with serving(both) as service, stub_of(service.address) as stub:
        assert await ask_for_less(stub)


async def test_a_deletion_names_an_old_encoder_that_cannot_purge(model: Path, old_encoder: str) -> None:
    async with serving(decoder(model, [old_encoder])) as service, stub_of(service.address) as stub:
        digest = await put(stub, IMAGES[0])
        delete = decoder_pb2.DeleteImageRequest(digest=digest)
        (deleted,) = (await stub.DeleteImage(delete, timeout=CALL_S)).encoders
        assert (deleted.confirmed, deleted.uploads) == (True, 1)
        purge = decoder_pb2.PurgeTenantRequest(tenant="default")
        (purged,) = (await stub.PurgeTenant(purge, timeout=CALL_S)).encoders
        assert (purged.confirmed, purged.reason) == (False, "NOT_SERVED")
