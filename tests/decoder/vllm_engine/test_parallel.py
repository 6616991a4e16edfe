"""vLLM over two ranks, of a layer or of the layers, started by vLLM or by Ray.

Both ranks are CPU processes that talk through gloo and shared memory.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from decoder_svc.engine.protocol import EngineRequest, Sampling
from decoder_svc.errors import BackendNotSupported, ModelNotDivisible
from decoder_svc.vllm_engine.engine import VllmEngine
from fovea.contract.errors import EngineFailed
from fovea.decoder.v1 import decoder_pb2_grpc
from tests.decoder.native_engine.harness import Question, Reference, answer, collect, layout_of, stream
from tests.decoder.native_engine.test_equal_tokens import drop_rows, reference_with_kept_rows
from tests.decoder.vllm_engine.conftest import settings
from tests.decoder.vllm_engine.ray_node import placed, ray_node, run_there
from tests.decoder.vllm_engine.test_equal_tokens import ties
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, LONG_WINDED, Service, decoder, encoder, request, rest_of

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]
GREEDY = Sampling(max_new_tokens=12)
LONG = Sampling(max_new_tokens=64, ignore_eos=True)
TENSOR: dict[str, Any] = {"tensor_parallel": 2}
PIPELINE: dict[str, Any] = {"pipeline_parallel": 2}
PARTITION = "3,1"  # the first stage needs a layer for each of the three deepstack levels
DEATH_S = 60.0
JOIN = "import ray; ray.init()"
REFUSED = """
from vllm.config import ParallelConfig
from vllm.v1.executor.ray_utils import initialize_ray_cluster
initialize_ray_cluster(ParallelConfig(tensor_parallel_size=2))
"""


@pytest.fixture(scope="module")
def node() -> Iterator[dict[str, str]]:
    with ray_node() as environ:
        yield environ


@pytest.fixture
def on_ray(node: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process and those that it starts find the node, and a platform of vLLM that runs there."""
    from tests.decoder.vllm_engine.cpu_on_ray import RESOURCE, CpuPlatform

    for name, value in node.items():
        monkeypatch.setenv(name, value)
    # A process that vLLM spawns gets this process' path, not PYTHONPATH.
    monkeypatch.syspath_prepend(node["PYTHONPATH"].partition(os.pathsep)[0])
    monkeypatch.setattr(CpuPlatform, "ray_device_key", RESOURCE)


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("on_ray")
    return str(request.param)


@asynccontextmanager
async def started(folder: Path, **changes: Any) -> AsyncIterator[VllmEngine]:
    engine = VllmEngine(settings(folder, **changes))
    try:
        await engine.start()
        yield engine
    finally:
        await engine.close()


@pytest.mark.parametrize("backend", ["mp", "ray"], indirect=True)
@pytest.mark.parametrize("ranks", [TENSOR, PIPELINE], ids=["tensor", "pipeline"])
@pytest.mark.parametrize("kind", ["moe", "dense"])
async def test_greedy_tokens_for_0_1_2_and_5_images(
    checkpoints: dict[str, Path],
    references: dict[str, Reference],
    questions: dict[str, list[Question]],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    ranks: dict[str, Any],
    backend: str,
) -> None:
    """Whole and reduced images, one request at a time and all together."""
    asked, folder = questions[kind], checkpoints[kind]
    assert sorted({len(q.rows) for q in asked}) == [0, 1, 2, 5]
    reduced = [drop_rows(q, seed) for seed, q in enumerate(asked) if q.rows]
    reduced = [reference_with_kept_rows(references[kind], q) for q in reduced]
    if ranks is PIPELINE:
        monkeypatch.setenv("VLLM_PP_LAYER_PARTITION", PARTITION)
    async with started(folder, distributed_backend=backend, **ranks) as engine:
        assert len(rank_processes()) == 2
        if backend == "ray":
            assert_placed(ranks)
        count = await ties(engine, folder, asked, together=False)
        count += await ties(engine, folder, asked + reduced, together=True)
    print(f"{kind}: {count} ties in {2 * len(asked) + len(reduced)} answers")


async def test_a_model_that_does_not_divide_is_refused(checkpoints: dict[str, Path]) -> None:
    """Two layers of four in the first stage, which has to add three deepstack levels."""
    engine = VllmEngine(settings(checkpoints["moe"], **PIPELINE))
    with pytest.raises(ModelNotDivisible, match="first stage 2 of 4 layers"):
        await engine.start()


@pytest.mark.parametrize("partition", ["4", "2,1", "x"])
async def test_a_partition_of_other_layers_is_refused(
    checkpoints: dict[str, Path], monkeypatch: pytest.MonkeyPatch, partition: str
) -> None:
    monkeypatch.setenv("VLLM_PP_LAYER_PARTITION", partition)
    engine = VllmEngine(settings(checkpoints["moe"], **PIPELINE))
    with pytest.raises(ModelNotDivisible, match="VLLM_PP_LAYER_PARTITION"):
        await engine.start()


async def test_ray_is_refused_on_a_cpu(checkpoints: dict[str, Path]) -> None:
    engine = VllmEngine(settings(checkpoints["moe"], distributed_backend="ray", **TENSOR))
    with pytest.raises(BackendNotSupported, match="does not support it on the platform cpu"):
        await engine.start()


def test_vllm_itself_refuses_ray_on_a_cpu(node: dict[str, str]) -> None:
    """If this fails, vLLM has learnt it, and both the refusal and the platform of these tests can go."""
    plain = {name: value for name, value in node.items() if name != "PYTHONPATH"}
    done = run_there(REFUSED, plain)
    assert "ValueError: current platform cpu does not support ray." in done.stderr


def test_the_node_listens_on_loopback_only(node: dict[str, str]) -> None:
    import psutil

    listening = [
        connection.laddr.ip.removeprefix("::ffff:")
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_the_node_refuses_another_token(node: dict[str, str]) -> None:
    other = node | {"RAY_AUTH_TOKEN": "0" * len(node["RAY_AUTH_TOKEN"])}
    done = run_there(JOIN, other)
    assert done.returncode
    assert "AuthenticationError" in done.stderr
    assert not run_there(JOIN, node).returncode


@pytest.mark.parametrize("backend", ["mp", "ray"], indirect=True)
async def test_the_death_of_a_rank_fails_waiting_calls(
    checkpoints: dict[str, Path], questions: dict[str, list[Question]], backend: str
) -> None:
    q = next(q for q in questions["moe"] if len(q.rows) == 1)
    async with started(checkpoints["moe"], distributed_backend=backend, **TENSOR) as engine:
        request = EngineRequest("orphan", q.prompt, LONG)
        deltas = engine.submit(request, [stream(q.rows[0])], layout_of(q.rows[0]))
        while not (await anext(deltas)).token_ids:
            pass  # until then vLLM may be asking its ranks what they can do; a death then fails in another way
        rank_processes()[1].kill()
        with pytest.raises(EngineFailed):
            await asyncio.wait_for(collect(deltas), DEATH_S)
        assert isinstance(await asyncio.wait_for(engine.died(), DEATH_S), EngineFailed)
        assert not engine.healthy
        with pytest.raises(EngineFailed):
            await answer(engine, q, GREEDY)  # type: ignore[arg-type]


async def test_a_decoder_that_loses_a_rank_is_not_ready_and_exits(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    first = encoder(checkpoints["moe"], tmp_path)
    second = decoder(
        checkpoints["moe"], [first.address], engine="vllm", enforce_eager=True, grace_s=0.5, **TENSOR
    )
    try:
        await first.until_ready()
        await second.until_ready()
        stub = decoder_pb2_grpc.DecoderServiceStub(second.channel)
        running = stub.Generate(request(LONG_WINDED, max_new_tokens=400), timeout=CALL_S)
        assert (await running.read()).WhichOneof("event") == "started"
        readiness = asyncio.create_task(not_serving(second))
        rank_processes()[0].kill()
        error = await failure(rest_of(running))
        assert (error.code, error.reason) == ("UNAVAILABLE", "ENGINE_FAILED")
        await asyncio.wait_for(readiness, DEATH_S)
        with pytest.raises(EngineFailed):
            await asyncio.wait_for(asyncio.shield(second.task), DEATH_S)
    finally:
        for service in (second, first):
            if not service.task.done():
                await service.stop()


async def not_serving(service: Service) -> None:
    """Waits until the service says that it is not ready, or says nothing any more."""
    with suppress(grpc.RpcError):
        while await service.health() == "SERVING":
            await asyncio.sleep(0.02)


def assert_placed(ranks: dict[str, Any]) -> None:
    """Ray reserved a GPU for each rank, and started an actor for each."""
    found = placed({})
    assert found["gpus"] == [1, 1]
    kind = "TP" if ranks is TENSOR else "PP"
    assert [name.rpartition("_")[2] for name in found["names"]] == [f"{kind}0", f"{kind}1"]


def rank_processes() -> list[Any]:
    """The processes of the ranks: vLLM's core or a Ray node started them, and this process started those. vLLM
    names its own `Worker_TP0`, Ray names them by the class of the actor.
    """
    import psutil

    found = psutil.Process().children(recursive=True)
    named = ((process, "".join(process.cmdline())) for process in found)
    return [process for process, title in named if "Worker_" in title or "RayWorkerProc" in title]
