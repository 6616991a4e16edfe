"""Labelled questions: a file of JSON lines.

Each line is an object with `image` or `images` (paths relative to the file, or ids of stored images),
`question`, and `answer` (a string, or a list of accepted answers). `choices` makes it a question of choice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea.contract.errors import InvalidArgument
from fovea.contract.ids import is_digest
from fovea.contract.sampling import ResponseFormat

FIELDS = frozenset({"image", "images", "question", "answer", "choices"})


class QuestionsInvalid(InvalidArgument):
    """A file of labelled questions that cannot be used. The message names file and line."""


@dataclass(frozen=True)
class Question:
    """`images` are paths, or ids of stored images."""

    images: tuple[str, ...]
    text: str
    accepted: tuple[str, ...]
    choices: tuple[str, ...] = ()

    @property
    def response_format(self) -> ResponseFormat | None:
        return ResponseFormat.choice(*self.choices) if self.choices else None


def read_questions(path: Path) -> list[Question]:
    """Raises QuestionsInvalid, or OSError if the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise QuestionsInvalid(f"{path} is not UTF-8 text") from None
    questions = list(_parsed(path, text))
    if not questions:
        raise QuestionsInvalid(f"{path} has no question")
    return questions


def digest_of_questions(questions: Sequence[Question]) -> str:
    """SHA-256 over every question, its accepted answers, and the bytes of its images."""
    hasher = hashlib.sha256()
    for each in questions:
        images = [_image_digest(image) for image in each.images]
        line = json.dumps([images, each.text, each.accepted, each.choices], ensure_ascii=True)
        hasher.update(line.encode() + b"\n")
    return f"sha256:{hasher.hexdigest()}"


def _image_digest(image: str) -> str:
    if is_digest(image):
        return image
    return f"sha256:{hashlib.sha256(Path(image).read_bytes()).hexdigest()}"


def _parsed(path: Path, text: str) -> Iterator[Question]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield _question(json.loads(line), path.parent)
            except (ValueError, RecursionError) as error:
                problem = "is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
                raise QuestionsInvalid(f"{path}:{number} {problem}") from None


def _question(value: Any, folder: Path) -> Question:
    """Raises ValueError, whose text continues the name of the line."""
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    if unknown := sorted(value.keys() - FIELDS):
        raise ValueError(f"has an unknown field {unknown[0]!r}")
    if "image" in value and "images" in value:
        raise ValueError("has both `image` and `images`")
    text = value.get("question")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("has no `question`")
    images = _texts(value.get("images", value.get("image", [])), "image")
    accepted = _texts(value.get("answer"), "answer")
    if not accepted:
        raise ValueError("has no `answer`")
    located = tuple(image if is_digest(image) else str(folder / image) for image in images)
    return Question(located, text, accepted, _texts(value.get("choices", []), "choices"))


def _texts(value: Any, name: str) -> tuple[str, ...]:
    """A string, or a list of strings."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"has no string or list of strings in `{name}`")
    return tuple(texts)
