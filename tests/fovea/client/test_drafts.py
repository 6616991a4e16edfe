"""Which drafts an asyncio client makes without a thread: those that read no file and hash little."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fovea.client import Image, Message, Size
from fovea.client.messages import LIGHT_BYTES, is_light

DIGEST = "sha256:" + "0" * 64
SMALL, LARGE = b"x" * 100, b"x" * LIGHT_BYTES


def asked(*parts: Any) -> list[Message]:
    return [Message("user", parts)]


@pytest.mark.parametrize(
    "messages",
    [
        asked("?"),
        [Message("user", "?")],
        [Message("user", Image(SMALL))],
        asked(Image(SMALL), Image(DIGEST), "?"),
        [*asked(Image(LARGE)), Message("assistant", "x"), *asked("?")],
    ],
)
def test_text_ids_and_few_bytes_are_light(messages: list[Message]) -> None:
    assert is_light(messages, (), {})


@pytest.mark.parametrize(
    ("messages", "images", "options"),
    [
        ("?", (), {}),
        (asked(Image("picture.png")), (), {}),
        (asked(Image(LARGE), Image(b"x")), (), {}),
        (asked(Image(np.zeros((4, 4), np.uint8))), (), {}),
        (asked(Image(Size(4, 4))), (), {}),
        (asked(Image(SMALL)), (), {"fit": True}),
        (asked("?"), [SMALL], {}),
        (asked("?"), np.zeros((4, 4), np.uint8), {}),
        (asked("?"), iter(()), {}),
    ],
)
def test_files_pixels_and_many_bytes_are_not(messages: Any, images: Any, options: Any) -> None:
    assert not is_light(messages, images, options)
