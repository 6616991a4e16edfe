"""Labelled questions in a file, and the calibration made from answers to them."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from fovea.calibration.making import (
    AccuracyNotReached,
    GivenAnswer,
    Sheet,
    cross_validated,
    make_calibration,
)
from fovea.calibration.questions import Question, QuestionsInvalid, digest_of_questions, read_questions
from fovea.calibration.threshold import Measure

MODEL, REFERENCE, DATA = (f"sha256:{digit * 64}" for digit in "abd")
COLOURS = ("red", "green", "blue")


def sheet(count: int, seed: int = 0) -> Sheet:
    """Words whose probability says how often they are right; the reference errs in a twentieth."""
    rng = random.Random(seed)
    questions, answers, reference = [], [], []
    for _ in range(count):
        label, probability = rng.choice(COLOURS), rng.betavariate(5, 1)
        wrong = COLOURS[COLOURS.index(label) - 1]
        questions.append(Question((), "Which colour?", (label,)))
        text = label if rng.random() < probability else wrong
        answers.append(GivenAnswer(text, (math.log(probability),)))
        reference.append(GivenAnswer(label if rng.random() < 0.95 else wrong))
    return Sheet(questions, answers, reference)


def test_unseen_questions_are_answered_as_accurately_as_wanted() -> None:
    asked = sheet(3000)
    made = make_calibration("small", MODEL, REFERENCE, asked, 0.95, Measure.ABSOLUTE, DATA)
    unseen = cross_validated(asked, 0.95, Measure.ABSOLUTE)
    assert unseen.right / unseen.kept >= 0.94
    assert 0.3 < made.counts.kept / made.counts.questions < 1
    assert made.counts.compared == made.counts.kept
    assert 0 < made.counts.disagreed < made.counts.kept


def test_a_cut_answer_is_never_kept() -> None:
    asked = sheet(1000)
    cut = Sheet(
        asked.questions, [GivenAnswer(a.text, a.logprobs, True) for a in asked.answers], asked.reference
    )
    with pytest.raises(AccuracyNotReached):
        make_calibration("small", MODEL, REFERENCE, cut, 0.9, Measure.ABSOLUTE, DATA)


def test_an_accuracy_out_of_reach_is_refused_with_what_is_within() -> None:
    with pytest.raises(AccuracyNotReached, match="the surest 25 are right in") as refused:
        make_calibration("small", MODEL, REFERENCE, sheet(100), 0.999, Measure.ABSOLUTE, DATA)
    assert refused.value.metadata["wanted"] == "0.999"


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "questions.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_questions_are_read_with_paths_beside_the_file(tmp_path: Path) -> None:
    stored = "sha256:" + "0" * 64
    path = written(
        tmp_path,
        {"image": "a.png", "question": "How many?", "answer": "12"},
        "",
        {
            "images": [stored, "b.png"],
            "question": "Same?",
            "answer": ["yes", "Yes."],
            "choices": ["yes", "no"],
        },
    )
    first, second = read_questions(path)
    assert first == Question((str(tmp_path / "a.png"),), "How many?", ("12",))
    assert second.images == (stored, str(tmp_path / "b.png"))
    assert second.response_format is not None
    assert second.response_format.source == ("yes", "no")


GOOD = {"image": "a.png", "question": "How many?", "answer": "12"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON"), ("[1]", "is not a JSON object"), ("[" * 100_000, ":2 "),
        (GOOD | {"images": []}, "both"), (GOOD | {"more": 1}, "unknown field 'more'"),
        (GOOD | {"question": " "}, "no `question`"), (GOOD | {"answer": []}, "no `answer`"),
        (GOOD | {"answer": 12}, "`answer`"), (GOOD | {"image": [1]}, "`image`"),
        (GOOD | {"choices": [1]}, "`choices`"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(tmp_path: Path, line: Any, problem: str) -> None:
    path = written(tmp_path, GOOD, line)
    with pytest.raises(QuestionsInvalid, match=r"questions\.jsonl:2") as refused:
        read_questions(path)
    assert problem in str(refused.value)


def test_files_without_questions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(QuestionsInvalid, match="has no question"):
        read_questions(written(tmp_path, "", ""))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(QuestionsInvalid, match="UTF-8"):
        read_questions(tmp_path / "bytes")


def test_the_digest_follows_images_questions_and_answers(tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(b"one")
    asked = Question((str(image),), "How many?", ("12",))
    digests = {digest_of_questions([asked])}
    digests.add(digest_of_questions([Question((str(image),), "How many?", ("13",))]))
    digests.add(digest_of_questions([Question((str(image),), "How much?", ("12",))]))
    assert digest_of_questions([asked]) in digests
    image.write_bytes(b"two")
    digests.add(digest_of_questions([asked]))
    assert len(digests) == 4
