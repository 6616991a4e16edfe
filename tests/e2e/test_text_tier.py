"""Text instead of pixels through both services: what was read, what the receipt says, and what is left of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from bench.parts.screens import Screen, draw_screens
from encoder_svc.images.decode import decode
from encoder_svc.images.limits import ImageLimits
from fovea.contract.image import ImageKind
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from fovea.vision.v1 import image_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, digest_of, put_on_encoder, request, running
from tests.e2e.metrics import metric_families
from tests.e2e.pictures import picture
from tests.encoder.reading.installed import require_reader

TIERS = """
[[tier]]
name = "read"
kind = "text"
tenants = []
wait_s = 60.0
wait_share = 1.0
min_confidence = 0.05
min_saving = 0.0

[[tier]]
name = "own"
kind = "model"
"""
pytestmark = pytest.mark.timeout(180)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reading(
    checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """Both services, with a tier that reads."""
    require_reader()
    folder = tmp_path_factory.mktemp("reading")
    (folder / "tiers.toml").write_text(TIERS)
    changes = {"tiers": folder / "tiers.toml"}
    async with running(checkpoint("moe"), folder / "store", decoder_changes=changes) as house:
        yield house


def page_of_text(seed: int) -> Screen:
    """Large letters, because the tiny tokenizer takes a token for almost every letter; of kind TEXT by rule."""
    large = (screen for screen in draw_screens(48, seed) if screen.height >= 24)
    return next(each for each in large if decode(each.data, ImageLimits()).facts.kind is ImageKind.TEXT)


@pytest.fixture(scope="module")
def screen() -> Screen:
    return page_of_text(seed=2)


@pytest.mark.long
async def test_an_image_of_text_is_replaced_and_the_receipt_says_so(reading: House, screen: Screen) -> None:
    digest = await put_on_encoder(reading, screen.data)
    await reading.encoder.ReadText(encoder_pb2.ReadTextRequest(digest=digest), timeout=CALL_S)
    message = request("When?", [screen.data, picture(seed=91)], max_new_tokens=4)
    pixels = (await reading.ask(message)).finished.receipt
    message.allow_text_substitution = True
    replaced = (await reading.ask(message)).finished.receipt
    assert [image.digest for image in replaced.images] == [image.digest for image in pixels.images]
    page, photo = replaced.images
    assert page.kind == image_pb2.IMAGE_KIND_TEXT
    (step,) = [step for step in page.steps if step.name == "text"]
    assert (step.before, step.after) == (pixels.images[0].tokens, 0)
    assert "tokens of text, confidence" in step.reason
    assert (page.tokens, photo.tokens) == (0, pixels.images[1].tokens)
    assert replaced.totals.visual_tokens == photo.tokens
    assert replaced.totals.naive_visual_tokens == pixels.totals.naive_visual_tokens
    before = pixels.totals.visual_tokens + pixels.totals.text_tokens
    assert replaced.totals.visual_tokens + replaced.totals.text_tokens < before
    assert list(replaced.tier.path) == ["read", "own"]
    assert replaced.tier.reasons[0] == "1 of 2 images by their text"
    assert pixels.tier.reasons[0] == "not allowed by request or tenant"


async def test_the_encoder_returns_text_read_once(reading: House, screen: Screen) -> None:
    digest = await put_on_encoder(reading, screen.data)
    ask = encoder_pb2.ReadTextRequest(digest=digest)
    first = await reading.encoder.ReadText(ask, timeout=CALL_S)
    second = await reading.encoder.ReadText(ask, timeout=CALL_S)
    assert first.known
    assert second.stored
    assert second.lines == first.lines
    assert second.cpu_ms == pytest.approx(first.cpu_ms, abs=0.01)
    words = " ".join(line.text for line in first.lines)
    assert screen.facts[0].split()[0] in words
    info = await reading.encoder.GetServerInfo(encoder_pb2.GetServerInfoRequest(), timeout=CALL_S)
    assert info.text_reader == f"{first.reader} {first.version}"
    assert "read_text" in info.features


async def test_an_image_without_text_is_a_typed_error(reading: House) -> None:
    digest = await put_on_encoder(reading, picture(seed=92))
    error = await failure(
        reading.encoder.ReadText(encoder_pb2.ReadTextRequest(digest=digest), timeout=CALL_S)
    )
    assert (error.code, error.reason) == ("NOT_FOUND", "TEXT_NOT_FOUND")
    assert error.metadata == {"digest": digest}


async def test_an_unknown_image_and_a_bad_id_are_typed_errors(reading: House) -> None:
    unknown = encoder_pb2.ReadTextRequest(digest=digest_of(b"never stored"))
    assert (await failure(reading.encoder.ReadText(unknown, timeout=CALL_S))).reason == "IMAGE_NOT_STORED"
    wrong = encoder_pb2.ReadTextRequest(digest="sha256:no", stored_only=True)
    assert (await failure(reading.encoder.ReadText(wrong, timeout=CALL_S))).reason == "INVALID_ARGUMENT"


@pytest.mark.long
async def test_a_deleted_image_has_no_text(reading: House) -> None:
    data = page_of_text(seed=3).data
    digest = await put_on_encoder(reading, data)
    ask = encoder_pb2.ReadTextRequest(digest=digest)
    await reading.encoder.ReadText(ask, timeout=CALL_S)
    await reading.decoder.DeleteImage(decoder_pb2.DeleteImageRequest(digest=digest), timeout=CALL_S)
    assert (await failure(reading.encoder.ReadText(ask, timeout=CALL_S))).reason == "IMAGE_NOT_STORED"
    await put_on_encoder(reading, data)
    again = encoder_pb2.ReadTextRequest(digest=digest, stored_only=True)
    assert not (await reading.encoder.ReadText(again, timeout=CALL_S)).known


async def test_metrics_count_what_was_read(reading: House, screen: Screen) -> None:
    digest = await put_on_encoder(reading, picture(seed=93))
    await failure(reading.encoder.ReadText(encoder_pb2.ReadTextRequest(digest=digest), timeout=CALL_S))
    message = request("When?", [screen.data], max_new_tokens=4)
    message.allow_text_substitution = True
    await reading.ask(message)
    encoder = await metric_families(reading.encoder_side.metrics)
    read = {sample.labels.get("result"): sample.value for sample in encoder["fovea_encoder_texts"].samples}
    assert read["text"] >= 1
    assert read["no_text"] >= 1
    assert "fovea_encoder_text_cpu_seconds" in encoder
    decoder = await metric_families(reading.decoder_side.metrics)
    for name in ("text_images", "text_saved_tokens"):
        (sample,) = decoder[f"fovea_decoder_tier_{name}"].samples
        assert sample.labels == {"tier": "read"}
        assert sample.value >= 1
