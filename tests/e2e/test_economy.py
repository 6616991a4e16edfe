"""Budgets through both real services: counts equal receipts, and receipts list every step."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from fovea.decoder.v1 import decoder_pb2
from fovea.planning.detail import READABLE_TEXT_PX
from fovea.vision.v1 import rows_pb2
from tests.e2e.house import CALL_S, House, request
from tests.e2e.pictures import pixels


def page(seed: int) -> bytes:
    """320x256, which is 80 tokens. The lower half is uniform."""
    picture = pixels(320, 256, seed)
    picture[128:] = 255
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


REDUCTIONS = {
    "flat": decoder_pb2.Reduction(flat_tolerance=0),
    "economy": decoder_pb2.Reduction(mode=decoder_pb2.REDUCTION_MODE_ECONOMY),
    "auto": decoder_pb2.Reduction(mode=decoder_pb2.REDUCTION_MODE_AUTO),
    "flat stride": decoder_pb2.Reduction(keep=0.3, reducer=rows_pb2.REDUCER_STRIDE, flat_tolerance=3),
}


@pytest.mark.parametrize("name", REDUCTIONS)
async def test_the_count_of_stored_images_equals_the_receipt(house: House, name: str) -> None:
    message = request("What?", [page(3000 + list(REDUCTIONS).index(name))], max_new_tokens=3)
    message.visual.reduction.CopyFrom(REDUCTIONS[name])
    counting = decoder_pb2.CountTokensRequest(request=message)
    before = await house.decoder.CountTokens(counting, timeout=CALL_S)
    answered = await house.ask(message)
    after = await house.decoder.CountTokens(counting, timeout=CALL_S)
    spent = answered.started.visual_tokens
    assert before.visual_tokens_min <= spent <= before.visual_tokens
    assert (after.exact, after.visual_tokens) == (True, spent)
    kept = list(after.plans[0].kept)
    assert (kept, len(kept)) == (sorted({*kept} & {*range(80)}), spent)
    assert not before.plans[0].kept or name.startswith("flat"), "known without the tower"
    receipt = answered.finished.receipt
    assert receipt.totals.encodes == 1
    (image,) = receipt.images
    assert (image.steps[0].before, image.steps[-1].after) == (80, spent)
    assert [step.name for step in image.steps] == [step.name for step in after.plans[0].steps]
    again = await house.ask(message)
    assert (again.token_ids, again.finished.receipt.totals.encodes) == (answered.token_ids, 0)
    if name == "flat":
        assert 40 <= spent < 80
        assert receipt.totals.patches == 4 * spent


async def test_the_server_tells_the_height_of_text_that_auto_preserves(house: House) -> None:
    """A page that shows plans can then say which text a size leaves readable."""
    assert (await house.info()).readable_text_px == READABLE_TEXT_PX
