"""A second model in the decoder's process, on real engines and encoders: calibrated, kept, escalated, compared."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from decoder_svc.errors import TierModelInvalid
from fovea.calibration.calibration import CalibrationInvalid, load_calibration
from fovea.client import Answer, AsyncClient, Format, Sampling, errors
from tests.e2e.house import Service, decoder, encoder
from tests.e2e.metrics import metric_families
from tests.e2e.pictures import picture

CHOICES = ("red", "green", "blue", "yellow")
QUESTIONS = 60
SHORT = Sampling(max_new_tokens=4)


@dataclass
class Pair:
    """Both encoders, checkpoints, and a folder for what decoders need. `same` has the tower of `large`."""

    small: Path
    same: Path
    large: Path
    encoders: list[Service]
    folder: Path

    def tiers(self, model: Path, *lines: str) -> Path:
        """A tiers file with a small model."""
        text = [
            '[[tier]]\nname = "small"\nkind = "model"\nbreak_even = "warn"',
            f'model = "{model}"',
            *lines,
            '[[tier]]\nname = "large"\nkind = "model"\n',
        ]
        (self.folder / "tiers.toml").write_text("\n".join(text))
        return self.folder / "tiers.toml"

    @asynccontextmanager
    async def decoder(self, *lines: str, model: Path | None = None, **changes: Any) -> AsyncIterator[Service]:
        tiers = self.tiers(model or self.small, *lines)
        service = decoder(self.large, [self.encoders[0].address], tiers=tiers, **changes)
        try:
            await service.until_ready()
            yield service
        finally:
            await service.stop()

    async def start(self, *lines: str, model: Path | None = None) -> None:
        """Start a decoder that refuses to."""
        tiers = self.tiers(model or self.small, *lines)
        service = decoder(self.large, [self.encoders[0].address], tiers=tiers)
        try:
            await service.task
        finally:
            await service.channel.close()

    @property
    def own_encoders(self) -> str:
        return f'encoders = ["{self.encoders[1].address}"]'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    """An encoder for each of the towers."""
    folder = tmp_path_factory.mktemp("pair")
    models = checkpoint("moe"), checkpoint("other")
    encoders = [encoder(model, folder / f"store-{at}") for at, model in enumerate(models)]
    try:
        for service in encoders:
            await service.until_ready()
        yield Pair(models[1], checkpoint("dense"), models[0], encoders, folder)
    finally:
        for service in encoders:
            await service.stop()


async def ask(service: Service, seed: int, **options: Any) -> Answer:
    async with AsyncClient(service.address) as client:
        return await client.ask("What is it?", [picture(seed=seed)], sampling=SHORT, **options)


async def test_both_models_answer_with_rows_of_their_own_encoders(pair: Pair) -> None:
    async with pair.decoder(pair.own_encoders) as service:
        small, large = await ask(service, 1, tier="small"), await ask(service, 1)
        async with AsyncClient(service.address) as client:
            info = await client.info()
    assert (small.model, small.receipt.tier.path) == ("other", ("small",))
    assert (large.model, large.receipt.tier.path) == ("moe", ("small", "large"))
    assert large.receipt.tier.reasons == ("not calibrated", "last tier")
    digests = {answer.receipt.images[0].rows_digest for answer in (small, large)}
    assert len(digests) == 2
    tiers = info.details["tiers"]
    assert [tier["name"] for tier in tiers] == ["small", "large"]
    assert len({tier["fingerprint"] for tier in tiers}) == 2
    listed = {peer["address"] for peer in info.details["encoders"]}
    assert listed == {service.address for service in pair.encoders}


async def test_models_with_one_tower_share_its_encoders(pair: Pair) -> None:
    async with pair.decoder(model=pair.same) as service:
        small, large = await ask(service, 2, tier="small"), await ask(service, 2, tier="large")
    assert (small.model, large.model) == ("dense", "moe")
    assert (small.receipt.totals.encodes, large.receipt.totals.encodes) == (1, 0)


async def test_a_smaller_visual_budget_is_the_small_models_alone(pair: Pair) -> None:
    async with pair.decoder("max_pixels = 4096", model=pair.same) as service:
        small, large = await ask(service, 3, tier="small"), await ask(service, 3, tier="large")
    assert small.receipt.totals.visual_tokens < large.receipt.totals.visual_tokens


async def test_an_upload_and_its_deletion_reach_the_encoders_of_both_models(pair: Pair) -> None:
    async with pair.decoder(pair.own_encoders) as service, AsyncClient(service.address) as client:
        digest = (await client.put(picture(seed=4))).facts.digest
        for tier in ("small", "large"):
            answer = await client.ask("What is it?", digest, sampling=SHORT, tier=tier)
            assert answer.receipt.images[0].digest == digest
        deleted = await client.delete(digest)
        assert {each.encoder for each in deleted.encoders} == {e.address for e in pair.encoders}
        for tier in ("small", "large"):
            with pytest.raises(errors.ImageNotStored):
                await client.ask("What is it?", digest, sampling=SHORT, tier=tier)


async def test_a_model_with_another_tower_needs_encoders_of_its_own(pair: Pair) -> None:
    with pytest.raises(TierModelInvalid, match="tier small: has another vision tower"):
        await pair.start()


async def test_settings_of_a_tier_are_checked_like_the_decoders_own(pair: Pair) -> None:
    with pytest.raises(TierModelInvalid, match="tier small: quantization fp8"):
        await pair.start(pair.own_encoders, 'quantization = "fp8"')


async def test_a_tier_has_a_context_of_its_own(pair: Pair) -> None:
    async with pair.decoder(pair.own_encoders, "max_context = 64", "kv_tokens = 64") as service:
        long = " ".join(["word"] * 100)
        async with AsyncClient(service.address) as client:
            with pytest.raises(errors.FoveaError, match="64 tokens"):
                await client.ask(long, sampling=SHORT, tier="small")
            assert (await client.ask(long, sampling=SHORT)).model == "moe"


@pytest.mark.long
async def test_a_calibration_keeps_escalates_and_is_compared(pair: Pair) -> None:
    """Labels are the small model's own answers for the questions that it is surest of."""
    questions, calibration = pair.folder / "questions.jsonl", pair.folder / "small.json"
    async with pair.decoder(pair.own_encoders) as service:
        await _label(service, questions)
        command = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "fovea.cli", "calibrate", str(questions), "--tier", "small", "--accuracy", "0.8",
            "--measure", "absolute", "--out", str(calibration), "--decoder", service.address, "--json",
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, _ = await command.communicate()
    printed = json.loads(output)
    assert command.returncode == 0, printed
    made = load_calibration(calibration)
    assert printed["calibration"]["counts"]["kept"] == made.counts.kept
    assert printed["unseen"]["questions"] == made.counts.questions == QUESTIONS
    assert made.counts.compared == made.counts.kept
    await _serve_with(pair, made.counts.kept)
    await _refuse_changed(pair)


async def _label(service: Service, path: Path) -> None:
    """Write questions of choice. The surest three quarters are labelled with the small model's answers."""
    texts = [f"Which colour has number {number}?" for number in range(QUESTIONS)]
    async with AsyncClient(service.address) as client:
        choices = Format.choice(*CHOICES)
        answers = {
            text: await client.ask(text, tier="small", response_format=choices, logprobs=True)
            for text in texts
        }
    surest = sorted(texts, key=lambda text: -sum(answers[text].logprobs))[: QUESTIONS * 3 // 4]
    lines = [
        {"question": text, "answer": answers[text].text if text in surest else "none", "choices": CHOICES}
        for text in texts
    ]
    await asyncio.to_thread(path.write_text, "\n".join(map(json.dumps, lines)))


async def _serve_with(pair: Pair, kept: int) -> None:
    """As many of the questions are kept as in the calibration; each is compared, outside of the tenant's bill."""
    changes: dict[str, Any] = {"ledger": True, "ledger_dir": pair.folder / "ledger"}
    lines = (pair.own_encoders, 'calibration = "small.json"', "shadow_share = 1.0")
    async with pair.decoder(*lines, **changes) as service, AsyncClient(service.address) as client:
        answers = [
            await client.ask(f"Which colour has number {number}?", response_format=Format.choice(*CHOICES))
            for number in range(QUESTIONS)
        ]
        assert sum(answer.receipt.tier.path == ("small",) for answer in answers) == kept
        assert not any(answer.logprobs for answer in answers)
        escalated = [answer for answer in answers if answer.receipt.tier.path == ("small", "large")]
        assert len(escalated) == QUESTIONS - kept
        figures = await _shadowed(service, kept)
        shadows = [record for record in [r async for r in client.list_usage()] if record.method == "Shadow"]
        assert len(shadows) == figures["fovea_decoder_tier_shadow_compared"]
        assert {record.tenant for record in shadows} <= {"(shadow)"}
        (sums,) = await client.summarize_usage(tenant="default")
        assert sums.requests == QUESTIONS


async def _shadowed(service: Service, kept: int) -> dict[str, float]:
    """The figures of the small tier once its comparisons have ended and the ledger has their records."""
    names = [f"fovea_decoder_tier_shadow_{name}" for name in ("compared", "skipped", "failed")]
    async with asyncio.timeout(60):
        while True:
            families = await metric_families(service.metrics)
            values = {name: families[name].samples[0].value for name in names}
            written = families["fovea_decoder_ledger_written"].samples[0].value
            if sum(values.values()) == kept and written == QUESTIONS + values[names[0]] + values[names[2]]:
                return values
            await asyncio.sleep(0.1)


async def _refuse_changed(pair: Pair) -> None:
    """The calibration of another checkpoint, or of another visual budget, is refused at start."""
    calibration = 'calibration = "small.json"'
    with pytest.raises(CalibrationInvalid, match="another tier"):
        await pair.start(calibration, model=pair.same)
    with pytest.raises(CalibrationInvalid, match="another tier"):
        await pair.start(pair.own_encoders, calibration, "max_pixels = 100_000")


async def test_a_tier_without_its_encoders_passes_on_and_the_decoder_stays_ready(pair: Pair) -> None:
    lines = ('encoders = ["127.0.0.1:9"]',)
    async with pair.decoder(*lines) as service:
        assert await service.health() == "SERVING"
        answer = await ask(service, 6)
        assert answer.model == "moe"
        with pytest.raises(errors.EncoderUnavailable):
            await ask(service, 6, tier="small")


async def test_both_engines_are_measured_and_alive(pair: Pair) -> None:
    async with pair.decoder(pair.own_encoders, liveness_interval_s=0.05, liveness_limit_s=30.0) as service:
        assert await service.health("liveness") == "SERVING"
        families = await metric_families(service.metrics)
    for name in ("running", "waiting", "kv_blocks", "kv_blocks_used"):
        (sample,) = families[f"fovea_decoder_tier_{name}"].samples
        assert sample.labels == {"tier": "small"}
    assert families["fovea_decoder_tier_kv_blocks"].samples[0].value > 0
