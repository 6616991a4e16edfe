"""The committed samples fit the demo: four pictures that the committed model answers right."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from transformers import Qwen3VLMoeForConditionalGeneration

from standin import model_dir
from standin.dataset import HeldOut
from standin.evaluate import right_answers
from standin.samples import WANTED, samples_dir

LISTED = json.loads((samples_dir() / "samples.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model() -> Qwen3VLMoeForConditionalGeneration:
    return Qwen3VLMoeForConditionalGeneration.from_pretrained(model_dir(), dtype=torch.float32).eval()


def test_a_chart_a_table_a_scene_and_a_page_are_there() -> None:
    assert [image["file"] for image in LISTED] == [wanted.file for wanted in WANTED]


@pytest.mark.parametrize("sample", LISTED, ids=lambda sample: sample["file"])
def test_the_model_answers_every_sample_question(
    model: Qwen3VLMoeForConditionalGeneration, sample: dict[str, object]
) -> None:
    image = Image.open(samples_dir() / str(sample["file"])).convert("RGB")
    questions = sample["questions"]
    assert isinstance(questions, list)
    asked = [HeldOut(image, q["question"], q["answer"], q["kind"], "", 0.0) for q in questions]
    assert right_answers(model, asked, "native") == [True] * len(asked)
