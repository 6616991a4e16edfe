"""The pictures of the demo, with questions and right answers, as they lie beside the stand-in model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SampleQuestion:
    """A question with its one right answer."""

    question: str
    answer: str

    def right(self, text: str) -> bool:
        return text.strip() == self.answer


@dataclass(frozen=True)
class Sample:
    """A picture and what is asked of it."""

    path: Path
    asked: tuple[SampleQuestion, ...]


def load(folder: Path | None = None) -> list[Sample]:
    """The samples in `folder`; those of the stand-in if none is named. OSError where there are none."""
    folder = folder or _folder()
    listed = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    return [
        Sample(
            folder / one["file"],
            tuple(SampleQuestion(asked["question"], asked["answer"]) for asked in one["questions"]),
        )
        for one in listed
    ]


def _folder() -> Path:
    from standin import model_dir

    return model_dir().parent / "samples"
