"""Images of a single colour are answered without a model, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from decoder_svc.tiers.blank import BlankSettings, BlankTier
from fovea.contract.answer import FinishReason, Started
from fovea.contract.image import ImageKind
from fovea.contract.receipt import Totals
from fovea.contract.sampling import ResponseFormat, Sampling
from fovea.contract.tools import Tool, ToolUse
from tests.decoder.tiers.fakes import KnownImages, Scripted, answered, ask, events_of, router

IMAGES = KnownImages({"white": ImageKind.BLANK, "black": ImageKind.BLANK, "chart": ImageKind.GRAPHIC})


async def test_blank_images_are_answered_without_a_model() -> None:
    large = Scripted("large")
    chain = router(BlankTier("blank"), large)
    text, finished = await answered(chain, ask("white"), images=IMAGES)
    assert text == "The image is blank: it shows a single colour."
    assert (finished.finish_reason, finished.receipt.totals) == (FinishReason.STOP, Totals())
    assert (finished.receipt.tier.path, finished.receipt.tier.reason) == (("blank",), "blank images: 1")
    assert [(image.digest, image.kind, image.tokens) for image in finished.receipt.images] == [
        ("white", ImageKind.BLANK, 0)
    ]
    text, _ = await answered(chain, ask("white", "black"), images=IMAGES)
    assert text == "The images are blank: each shows a single colour."
    assert not large.requests
    first = (await events_of(chain, ask("white"), images=IMAGES))[0]
    assert first == Started("r", "blank", 0, 0)


async def test_the_texts_are_settings() -> None:
    chain = router(BlankTier("blank", BlankSettings("leer", "alle leer")), Scripted("large"))
    assert (await answered(chain, ask("white"), images=IMAGES))[0] == "leer"
    assert (await answered(chain, ask("white", "white"), images=IMAGES))[0] == "alle leer"


@pytest.mark.parametrize(
    ("images", "sampling", "why"),
    [
        ((), Sampling(), "no image"),
        (("white", "chart"), Sampling(), "not all images are blank"),
        (("white",), Sampling(logprobs=True), "the answer needs a model"),
        (("white",), Sampling(stop=("is",)), "the answer needs a model"),
        (("white",), Sampling(response_format=ResponseFormat.regex("a")), "the answer needs a model"),
    ],
)
async def test_other_requests_are_passed_on(images: tuple[str, ...], sampling: Any, why: str) -> None:
    chain = router(BlankTier("blank"), Scripted("large"))
    text, finished = await answered(chain, ask(*images, sampling=sampling), images=IMAGES)
    assert text == "the large"
    assert finished.receipt.tier.reasons == (why, "last tier")


@pytest.mark.parametrize("change", [{"tool_use": ToolUse((Tool("a"),))}, {"continue_final": True}])
async def test_a_request_with_tools_or_the_beginning_of_an_answer_is_passed_on(
    change: dict[str, Any],
) -> None:
    chain = router(BlankTier("blank"), Scripted("large"))
    text, finished = await answered(chain, replace(ask("white"), **change), images=IMAGES)
    assert (text, finished.receipt.tier.reasons[0]) == ("the large", "the answer needs a model")
