"""Overlays as processes: their own probes find them ready, and a rollout of everything under load loses no call."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from bench.fault_cases.load import Outcome, open_loop
from bench.fault_cases.questions import CALL_S, Caller, Question, Questions, picture
from bench.fault_cases.rolling import WITH_RETRIES
from fovea.decoder.v1 import decoder_pb2, receipt_pb2
from fovea.vision.v1 import rows_pb2
from standin import model_dir
from tests.deploy.kubernetes.callers import WITHOUT_RETRIES, GatewayCaller, Recorder, of_decoders
from tests.deploy.kubernetes.cluster import Cluster
from tests.deploy.kubernetes.manifests import Overlay
from tests.deploy.kubernetes.readme import make_secrets

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]
ORDER = ("fovea-encoder", "fovea-decoder", "fovea-gateway")
"""Of docs/upgrade.md."""
RATE = 1.0
"""Calls a second of each of three callers, far below what two cores can do: starting services take the rest."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For pods. Their DNS needs root, who may mount files and listen on port 53."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing = "pods get their DNS by unshare, as root"
        (pytest.fail if os.environ.get("SKIP_NOTHING") == "1" else pytest.skip)(missing)
    return tmp_path


@pytest.fixture
def models(folder: Path) -> Path:
    """The stand-in under the names of all checkpoints."""
    for name in ("standin", "Qwen3-VL-30B-A3B-Instruct"):
        shutil.copytree(model_dir(), folder / "models" / name)
    return folder / "models"


async def test_a_rollout_of_everything_under_load_loses_no_call(
    built: Callable[[str], Overlay], folder: Path, models: Path
) -> None:
    async with Cluster(built("cpu-dev"), folder, models) as cluster:
        await cluster.start()
        await check_gauges(cluster, built("many"))
        async with (
            of_decoders(cluster, WITH_RETRIES) as patient,
            of_decoders(cluster, WITHOUT_RETRIES) as plain,
        ):
            loads = {
                "patient": await recorder(patient, Questions(0)),
                "plain": await recorder(plain, Questions(1)),
                "gateway": Recorder(GatewayCaller(cluster).ask, Questions(2)),
            }
            kept = picture(3)
            await patient.put(kept)
            owner = (await image_of(patient, kept)).encoder
            outcomes = await during_rollout(cluster, loads)
            image = await image_of(patient, kept)
            assert (image.encoder, image.source) == (owner, rows_pb2.ROW_SOURCE_ROWS)
        await cluster.terminate()
        assert not cluster.faults
    report = {name: Counter(f"{one.code} {one.reason}" for one in ended) for name, ended in outcomes.items()}
    print(report, {name: max(one.seconds for one in ended) for name, ended in outcomes.items()})
    assert all(counts.keys() == {"OK "} for counts in report.values()), report
    assert all(counts.total() > 30 for counts in report.values()), report
    assert not any(load.contradictions for load in loads.values())


async def during_rollout(cluster: Cluster, loads: dict[str, Recorder]) -> dict[str, list[Outcome]]:
    """The calls that begin while every pod is replaced."""
    stop = asyncio.Event()
    running = {
        name: asyncio.create_task(open_loop(load, RATE, float("inf"), stop)) for name, load in loads.items()
    }
    before = {pod.address for pod in cluster.pods}
    try:
        for name in ORDER:
            await cluster.roll(name)
    finally:
        stop.set()
    assert not before & {pod.address for pod in cluster.pods}, "a pod was not replaced"
    return {name: await task for name, task in running.items()}


async def recorder(caller: Caller, questions: Questions) -> Recorder:
    """A caller whose known pictures are uploaded."""
    for data in questions.known:
        await caller.put(data)

    async def ask(question: Question) -> str:
        return (await caller.ask(question)).text

    return Recorder(ask, questions)


async def image_of(caller: Caller, data: bytes) -> receipt_pb2.ReceiptImage:
    """The receipt of an uploaded picture, asked about by its id."""
    request = decoder_pb2.CompleteRequest(request=Question("What is it?", data, by_id=True).request())
    (image,) = (await caller.stub.Complete(request, timeout=CALL_S)).receipt.images
    return image


async def check_gauges(cluster: Cluster, scaled: Overlay) -> None:
    """The queries of the scalers name gauges that the services have."""
    for name, scaler in scaled.of_kind("ScaledObject").items():
        pod = cluster.pods_of(name)[0]
        async with httpx.AsyncClient(trust_env=False) as client:
            page = (await client.get(f"http://{pod.address}:{pod.workload.port('metrics')}/metrics")).text
        for gauge in re.findall(r"fovea_\w+", scaler["spec"]["triggers"][0]["metadata"]["query"]):
            assert f"# TYPE {gauge} gauge" in page


@pytest.mark.parametrize("name", ["one-gpu-each", "many"])
async def test_pods_with_tls_and_tokens_answer_together(
    name: str, built: Callable[[str], Overlay], folder: Path, models: Path
) -> None:
    """With the Secrets that the README makes. On a CPU: the device is the one setting that is not the overlay's."""
    keys = folder / "keys"
    keys.mkdir()
    overlay = on_cpu(replace(built(name), secrets=make_secrets(keys)))
    ca, token = keys / "ca.pem", (keys / "user.token").read_text().strip()
    async with Cluster(overlay, folder, models, replicas=1) as cluster:
        await cluster.start()
        question = Question("What is in the picture?", picture(1))
        assert await GatewayCaller(cluster, token, ca).ask(question)
        assert (await GatewayCaller(cluster, "", ca).post(question)).status_code == 401
        await cluster.terminate()
        assert not cluster.faults


def on_cpu(overlay: Overlay) -> Overlay:
    device = {f"FOVEA_{kind}_{name}": value for kind in ("ENCODER", "DECODER")
              for name, value in (("DEVICE", "cpu"), ("THREADS", "1"))}  # fmt: skip
    documents = [
        document | {"data": document["data"] | device} if document["kind"] == "ConfigMap" else document
        for document in overlay.documents
    ]
    return replace(overlay, documents=documents)
