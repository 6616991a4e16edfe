"""The demo's images with questions and right answers, stored beside the stand-in model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from fovea.cli.standin import standin_dir


@dataclass(frozen=True)
class SampleQuestion:
    """A question with its only right answer."""

    question: str
    answer: str

    def right(self, text: str) -> bool:
        return text.strip() == self.answer


@dataclass(frozen=True)
class Sample:
    """An image and its questions."""

    path: Path
    questions: tuple[SampleQuestion, ...]


def load(folder: Path | None = None) -> list[Sample]:
    """The samples in `folder`, by default those of the stand-in. Raises OSError, or StandinNotInstalled."""
    if folder is None:
        folder = standin_dir().parent / "samples"
    entries = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    return [
        Sample(
            folder / entry["file"],
            tuple(SampleQuestion(item["question"], item["answer"]) for item in entry["questions"]),
        )
        for entry in entries
    ]
