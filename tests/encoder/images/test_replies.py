"""What a worker sends is received only as far as it fits the image and its limits."""

from __future__ import annotations

from typing import Any

import pytest

from encoder_svc.images.limits import ImageLimits
from encoder_svc.images.replies import FactsReply, PixelsReply, refusal
from fovea.contract.errors import ImageEmpty
from fovea.nursery.frames import FrameInvalid

LIMITS = ImageLimits()


def test_pixels_of_the_size_that_the_header_names_are_received() -> None:
    assert len(PixelsReply(LIMITS).receive({"width": 20, "height": 10}, 600)) == 600


@pytest.mark.parametrize(
    ("header", "body_bytes"),
    [
        ({"width": 20, "height": 10}, 599),
        ({"width": 20, "height": 10}, 601),
        ({"width": 0, "height": 10}, 0),
        ({"width": 20}, 0),
        ({"width": 20.0, "height": 10}, 600),
        ({"width": LIMITS.max_image_side + 1, "height": 1}, 3 * (LIMITS.max_image_side + 1)),
        ({"width": 5001, "height": 5000}, 3 * 5001 * 5000),
        (refusal(ImageEmpty()), 1),
    ],
)
def test_other_pixels_are_no_reply(header: dict[str, Any], body_bytes: int) -> None:
    with pytest.raises(FrameInvalid):
        PixelsReply(LIMITS).receive(header, body_bytes)


@pytest.mark.parametrize("header", [{"facts": {}}, refusal(ImageEmpty())])
def test_facts_and_refusals_have_no_raw_bytes(header: dict[str, Any]) -> None:
    reply = FactsReply("sha256:" + "0" * 64, 1, LIMITS)
    assert len(reply.receive(header, 0)) == 0
    with pytest.raises(FrameInvalid, match="raw bytes"):
        reply.receive(header, 1)
