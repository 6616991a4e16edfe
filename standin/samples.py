"""The four pictures of the demo: a chart, a table, a photo-like scene and a page of text, with right answers.

`python -m standin.samples` draws them again: of each kind the first picture of the split "sample" whose every
chosen question the committed model answers right. They show what the model can do, not how often; the scores
are in README.md.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from transformers import Qwen3VLMoeForConditionalGeneration

from standin import model_dir
from standin.dataset import HeldOut, draw_picture
from standin.draw import DRAWERS, draw_bar, draw_page, draw_scene, draw_table
from standin.evaluate import right_answers
from standin.questions import Asked, questions_about


@dataclass(frozen=True)
class Wanted:
    """One sample: its file, what draws it at which size, and the kinds of question to show."""

    file: str
    drawer: int
    size: tuple[int, int]
    kinds: tuple[str, ...]


WANTED = (
    Wanted(
        "chart.png", DRAWERS.index(draw_bar), (256, 192), ("bar_tallest", "bar_count", "bar_value", "title")
    ),
    Wanted("table.png", DRAWERS.index(draw_table), (224, 160), ("picture_kind", "table_rows", "table_cell")),
    Wanted("scene.jpg", DRAWERS.index(draw_scene), (224, 192), ("scene_biggest", "scene_time", "scene_sign")),
    Wanted("page.png", DRAWERS.index(draw_page), (224, 160), ("picture_kind", "page_lines", "page_word")),
)
TRIES = 400


def samples_dir() -> Path:
    """The folder of the committed samples."""
    return Path(__file__).parent / "samples"


def file_bytes(image: Image.Image, name: str) -> bytes:
    """The picture as the file that is committed; a photo is a JPEG."""
    buffer = io.BytesIO()
    if name.endswith(".jpg"):
        image.save(buffer, "JPEG", quality=95, subsampling=0)
    else:
        image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def chosen(asked: Sequence[Asked], kinds: tuple[str, ...]) -> list[Asked]:
    """The first English question of each kind, in the order of the kinds."""
    english = [one for one in asked if one.question.isascii()]
    return [next(one for one in english if one.kind == kind) for kind in kinds]


def pick(model: torch.nn.Module, wanted: Wanted) -> tuple[bytes, list[Asked]]:
    """The first picture whose questions are all answered right. Raises LookupError if there is none."""
    for seed in range(TRIES):
        picture = draw_picture("sample", seed, wanted.size, wanted.drawer)
        try:
            asked = chosen(questions_about(picture, random.Random(seed)), wanted.kinds)
        except StopIteration:  # all forms of one kind were drawn in Chinese
            continue
        data = file_bytes(picture.canvas.image, wanted.file)
        image = Image.open(io.BytesIO(data)).convert("RGB")
        sheet = [HeldOut(image, one.question, one.answer, one.kind, one.tier, one.chance) for one in asked]
        if all(right_answers(model, sheet, "native")):
            return data, asked
    raise LookupError(f"no picture for {wanted.file} in {TRIES} tries")


def main() -> None:
    model = Qwen3VLMoeForConditionalGeneration.from_pretrained(model_dir(), dtype=torch.float32).eval()
    listed = []
    for wanted in WANTED:
        data, asked = pick(model, wanted)
        (samples_dir() / wanted.file).write_bytes(data)
        questions = [{"question": one.question, "answer": one.answer, "kind": one.kind} for one in asked]
        listed.append({"file": wanted.file, "questions": questions})
    text = json.dumps(listed, indent=2, ensure_ascii=False)
    (samples_dir() / "samples.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
