"""Questions for a comparison of engines: each with a picture and a text that no other one has.

So no side can reuse more of one question for another than the few words that all chats begin with. The rows
are computed here, once, by the encoder's tower; no side runs one.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from bench.parts.photo import photo
from bench.sides.material import Question
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.messages import ChatMessage, ImagePart, TextPart
from encoder_svc.vision.preprocess import patches
from encoder_svc.vision.tower import Tower
from fovea.contract.rows import RowDtype
from fovea.geometry import Geometry

SIDE = 256
WORDS = (
    "which",
    "colour",
    "is",
    "the",
    "largest",
    "shape",
    "and",
    "how",
    "many",
    "of",
    "them",
    "are",
    "there",
)


def questions(model: Path, count: int, seed: int) -> list[Question]:
    """Pictures of 256 x 256: 64 visual tokens each, and about as many of text."""
    tower = Tower.load(model)
    geometry, builder = Geometry.from_checkpoint(model), PromptBuilder(model)
    return [_question(tower, geometry, builder, 7_000_003 * (seed + 1) + number) for number in range(count)]


def _question(tower: Tower, geometry: Geometry, builder: PromptBuilder, seed: int) -> Question:
    picture = np.asarray(Image.open(io.BytesIO(photo(seed, SIDE))).convert("RGB"))
    image = patches(picture, geometry)
    (made,) = tower.encode([image], RowDtype.FP32)
    text = " ".join(np.random.default_rng(seed).choice(WORDS, 24))
    messages = (ChatMessage("user", (ImagePart(0), TextPart(text))),)
    prompt = builder.build(messages, [image.grid_thw], keys=[str(seed).encode()])
    values = np.frombuffer(made.rows, np.float32).reshape(prompt.images[0].rows, -1)
    return Question(prompt, values)
