"""Labelled questions for `fovea calibrate`: JSON lines beside their pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench.tiers.traffic import Request


def write_questions(requests: Sequence[Request], folder: Path) -> Path:
    """The file of the questions."""
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
