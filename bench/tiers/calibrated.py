"""Labelled questions for `fovea calibrate`, and the calibration that it makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench.runner import Run
from bench.tiers.traffic import CASCADE, Request, traffic

WANTED = 0.99
"""Right answers of the small tier for every right answer of the large one."""
SEED = 500
"""No round of another part has it."""
QUESTIONS, QUICK_QUESTIONS = 2000, 120


def calibrate(run: Run) -> Path:
    """The file of the calibration."""
    questions = write_questions(
        traffic(CASCADE, run.effort(QUESTIONS, QUICK_QUESTIONS), 1000 * run.seed + SEED), run.folder / "labelled"
    )
    raise NotImplementedError(questions)


def write_questions(requests: Sequence[Request], folder: Path) -> Path:
    """The labelled questions as JSON lines, beside their pictures."""
    folder.mkdir()
    lines = []
    for request in requests:
        image = f"{request.picture}.png"
        (folder / image).write_bytes(request.file)
        lines.append(
            json.dumps({"image": image, "question": request.asked.question, "answer": request.asked.answer})
        )
    path = folder / "questions.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
