"""Workers judge kinds with the gate, and serve on by rules without it."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from encoder_svc.gate.gate import Gate, GateSettings
from encoder_svc.images.decode import decode
from encoder_svc.images.decoder import WORKER, Decoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.store.keys import UploadKey, tenant_id
from fovea.contract.image import ImageFacts
from fovea.contract.rows import digest
from fovea.nursery.limits import ChildLimits
from standin.draw import draw_bar, draw_table
from tests.encoder.gate.models import gate_file
from tests.encoder.images.files import encoded

LIMITS, CHILD = ImageLimits(), ChildLimits(600, 1 << 30)
BARE = "tests.encoder.images.bare_worker"
FILES = [encoded(draw(random.Random(2), 256, 192).canvas.image) for draw in (draw_bar, draw_table)]


async def facts_of(gate: GateSettings, module: str = WORKER, files: list[bytes] = FILES) -> list[ImageFacts]:
    """The facts of each file, from two workers at the same time."""
    with closing(Decoder(LIMITS, CHILD, 2, module, gate)) as decoder:
        keys = [UploadKey.of(tenant_id("default"), digest(data)) for data in files]
        facts = await asyncio.gather(*map(decoder.facts, keys, files))
        assert thread_count(decoder.nursery_pid) == 1, "a thread may hold a lock when a worker is forked"
        return facts


def thread_count(pid: int | None) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def by_rules(files: list[bytes] = FILES) -> list[ImageFacts]:
    return [decode(data, LIMITS).facts for data in files]


async def test_a_worker_returns_what_the_gate_sees_in_the_pixels() -> None:
    gate = Gate.load(GateSettings())
    expected = [
        gate.refine(decoded.rgb, decoded.facts) for decoded in (decode(data, LIMITS) for data in FILES)
    ]
    facts = await facts_of(GateSettings())
    assert facts == expected
    assert facts != by_rules()


async def test_the_threshold_of_the_settings_reaches_the_workers(tmp_path: Path) -> None:
    model = gate_file(tmp_path / "model.onnx", [0.1, 0.5, 0.1, 0.1, 0.1, 0.1])
    assert {each.kind for each in await facts_of(GateSettings(0.5, model))} == {"TABLE"}
    assert await facts_of(GateSettings(0.51, model)) == by_rules()


@pytest.mark.parametrize("fault", ["no onnxruntime", "no model", "a broken model"])
async def test_without_a_gate_rules_decide_and_the_log_says_so_once(
    fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.onnx"
    if fault == "a broken model":
        model.write_bytes(b"\x08\x09" * 400)
    settings = (
        GateSettings(log_form="json")
        if fault == "no onnxruntime"
        else GateSettings(path=str(model), log_form="json")
    )
    facts = await facts_of(settings, BARE if fault == "no onnxruntime" else WORKER)
    assert facts == by_rules()
    (line,) = capfd.readouterr().err.splitlines()
    event = json.loads(line)
    assert (event["event"], event["level"]) == ("gate unavailable, rules decide kinds", "warning")
    assert str(tmp_path) not in event["cause"]


@pytest.mark.long
async def test_a_large_image_is_judged_within_the_limits_of_a_worker() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    file = encoded(noise, "JPEG")
    with closing(Decoder(LIMITS, ChildLimits(60, 1 << 28), gate=GateSettings())) as decoder:
        facts = await decoder.facts(UploadKey.of(tenant_id("default"), digest(file)), file)
    assert (facts.width, facts.height) == (4000, 4000)
