"""What every side is asked: prompts, and the rows of their images in fp32, in one file. Knows no engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from decoder_svc.engine.protocol import ImageSpan, Prompt


@dataclass(frozen=True, eq=False)
class Question:
    """A prompt with one image, and its rows (rows, values)."""

    prompt: Prompt
    rows: npt.NDArray[np.float32]

    @property
    def image(self) -> ImageSpan:
        return self.prompt.images[0]


def save(path: Path, questions: Sequence[Question]) -> None:
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for number, q in enumerate(questions):
        places = [q.image.start, q.image.rows, *q.image.grid_thw, q.prompt.next_position]
        arrays |= {
            f"{number}.ids": q.prompt.token_ids,
            f"{number}.positions": q.prompt.positions,
            f"{number}.places": np.array(places),
            f"{number}.key": np.frombuffer(q.image.key, np.uint8),
            f"{number}.rows": q.rows,
        }
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> list[Question]:
    with np.load(path, allow_pickle=False) as file:
        return [_question(file, number) for number in range(len(file.files) // 5)]


def _question(file: npt.NpzFile, number: int) -> Question:  # type: ignore[name-defined]
    start, rows, t, h, w, following = (int(v) for v in file[f"{number}.places"])
    span = ImageSpan(start, (t, h, w), rows, key=file[f"{number}.key"].tobytes())
    prompt = Prompt(file[f"{number}.ids"], file[f"{number}.positions"], following, (span,))
    return Question(prompt, file[f"{number}.rows"])
