"""Questions for a comparison of engines: each with a picture and a text that no other has.

So a side can reuse no more between questions than the few tokens that every chat begins with. The rows are
computed here, once, by the encoder's tower; no side runs one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.parts.encode import to_patches
from bench.parts.photo import photo
from bench.sides.protocol import Question
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.messages import ImagePart, Message, TextPart
from encoder_svc.vision.tower import Tower
from fovea.geometry import Geometry
from fovea.rows import RowDtype
from standin.lexicon import WORDS

SIDE = 256
WORD_COUNT = 17


def draw_questions(model: Path, count: int, seed: int) -> list[Question]:
    """Pictures of 256 x 256: 64 visual tokens each, and about 45 of text."""
    tower = Tower.load(model)
    geometry, builder = Geometry.from_checkpoint(model), PromptBuilder(model)
    return [_question(tower, geometry, builder, 7_000_003 * (seed + 1) + number) for number in range(count)]


def _question(tower: Tower, geometry: Geometry, builder: PromptBuilder, seed: int) -> Question:
    image = to_patches(photo(seed, SIDE), geometry)
    (encoded,) = tower.encode([image], RowDtype.FP32)
    text = " ".join(np.random.default_rng(seed).choice(WORDS, WORD_COUNT))
    messages = (Message("user", (ImagePart(0), TextPart(text))),)
    prompt = builder.build(messages, [image.grid_thw], keys=[str(seed).encode()])
    values = np.frombuffer(encoded.rows, np.float32).reshape(prompt.images[0].rows, -1)
    return Question(prompt, values)
