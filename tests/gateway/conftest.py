"""A gateway in front of both services with the stand-in, and official clients that call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import pytest
import pytest_asyncio

from fovea.cli.samples import Sample, load
from standin import model_dir
from tests.e2e.house import CALL_S, START_S, House, free_address, running
from tests.gateway.pictures import data_uri

MODEL = "fovea-standin"


@dataclass
class Served:
    """A running gateway and the services behind it."""

    house: House
    address: str
    metrics: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def openai(self, key: str = "none", **options: Any) -> openai.AsyncOpenAI:
        given = {"max_retries": 0, "timeout": CALL_S} | options
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, **given)

    def http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, timeout=CALL_S, trust_env=False)


@asynccontextmanager
async def gateway_of(house: House, **changes: Any) -> AsyncIterator[Served]:
    """A gateway in front of these services, until the block ends."""
    from gateway_svc.app import serve
    from gateway_svc.settings import GatewaySettings

    values: dict[str, Any] = {
        "listen": free_address(), "metrics_listen": free_address(), "decoder": house.decoder_side.address, "grace_s": 2.0,
    }  # fmt: skip
    values |= changes
    task = asyncio.create_task(serve(GatewaySettings(**values)))
    served = Served(house, values["listen"], values["metrics_listen"])
    try:
        async with asyncio.timeout(START_S), served.http() as client:
            while not await _answers(client):
                if task.done():
                    task.result()
                await asyncio.sleep(0.02)
        yield served
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _answers(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/healthz")).status_code == 200
    except httpx2.TransportError:
        return False


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def standin_house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Both services with the stand-in, which answers questions about its samples."""
    names = {"served_model_name": MODEL}
    cache = tmp_path_factory.mktemp("gateway-store")
    async with running(model_dir(), cache, encoder_changes=names, decoder_changes=names) as house:
        yield house


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def served(standin_house: House) -> AsyncIterator[Served]:
    async with gateway_of(standin_house) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="session")
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    """The official client, as it is."""
    async with served.openai() as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def http(served: Served) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain HTTP client."""
    async with served.http() as client:
        yield client


@pytest.fixture(scope="session")
def sample() -> Sample:
    """A picture whose questions the stand-in answers right."""
    return load()[0]


@pytest.fixture
def picture_uri(sample: Sample) -> str:
    return data_uri(sample.path.read_bytes())
