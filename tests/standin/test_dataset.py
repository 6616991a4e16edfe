"""The split.

Training and test sets are disjoint, the held-out set is frozen, and answers are too balanced to guess.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from standin.dataset import (
    IGNORED,
    KINDS,
    QUOTED,
    Recipe,
    draw_picture,
    heldout,
    looked_up,
    pack,
    question_tokens,
    training_batches,
)
from standin.frozen import DIGEST, heldout_digest
from standin.questions import CHANCE, FINE, FORMS, questions_about
from standin.tokenizer import load_tokenizer


def test_heldout_set_is_the_frozen_one() -> None:
    assert heldout_digest() == DIGEST


def test_another_seed_draws_another_set() -> None:
    assert heldout_digest(seed=1) != DIGEST


def test_splits_share_no_picture() -> None:
    def pixels(split: str) -> set[bytes]:
        drawn = (draw_picture(split, seed).canvas.image for seed in range(150))
        return {hashlib.sha256(image.tobytes()).digest() for image in drawn}

    train, test = pixels("train"), pixels("heldout")
    assert len(train) == len(test) == 150
    assert not train & test


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_yields_as_many_questions_as_asked(kind: str) -> None:
    asked = list(heldout(kind, 3))
    assert [question.kind for question in asked] == [kind] * 3
    assert {question.tier for question in asked} == {"fine" if kind in FINE else "coarse"}
    assert all(question.answer and question.question.strip() for question in asked)


def test_no_constant_answer_beats_the_stated_chance() -> None:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for seed in range(1500):
        for question in questions_about(draw_picture("test-chance", seed), random.Random(seed)):
            seen[question.kind][question.answer] += 1
    for kind in KINDS:
        count = sum(seen[kind].values())
        best = seen[kind].most_common(1)[0][1]
        # Four standard errors, the first maximum of many answers included.
        assert best / count <= CHANCE[kind] + 4 * (CHANCE[kind] / count) ** 0.5, kind


def test_chance_is_defined_for_every_question_form() -> None:
    assert set(CHANCE) == set(FORMS)


def test_training_batches_are_the_same_for_the_same_seed() -> None:
    recipe = Recipe(pixels=60_000)
    first, other = next(training_batches(7, recipe)), next(training_batches(7, recipe))
    assert (first.pictures == other.pictures).all()
    assert (first.tokens == other.tokens).all()
    third = next(training_batches(8, recipe))
    assert third.tokens.shape != first.tokens.shape or (third.tokens != first.tokens).any()


def test_only_the_answer_and_its_end_token_are_answer_tokens() -> None:
    asked = next(iter(heldout("bar_value", 1)))
    ids, answered = question_tokens(asked.question, asked.answer)
    tokenizer = load_tokenizer()
    assert tokenizer.decode(ids[-answered:-1]) == asked.answer
    assert tokenizer.id_to_token(ids[-1]) == "<|im_end|>"


def test_targets_are_shifted_by_a_token() -> None:
    batch = next(training_batches(3, Recipe(pixels=60_000)))
    there = batch.targets[:, :, :-1] != IGNORED
    assert there.any()
    assert (batch.targets[:, :, :-1][there] == batch.tokens[:, :, 1:][there]).all()
    assert (batch.targets[:, :, -1] == IGNORED).all()


def test_quoted_names_lead_to_the_visual_token_that_shows_the_answer() -> None:
    count = 0
    for seed in range(30):
        picture = draw_picture(
            "train", seed, (256, 192), drawer=3 if seed % 2 else 0
        )  # tables and bar charts
        canvas, (width, height) = picture.canvas, (128, 96)
        for question in questions_about(picture, random.Random(seed)):
            token = looked_up(question.question, canvas, width, height)
            assert (token == IGNORED) is (question.kind not in ("table_cell", "bar_named"))
            if token == IGNORED:
                continue
            shown = [
                item.text
                for item in canvas.items
                if int(item.y / 2) // 32 * 4 + int(item.x / 2) // 32 == token
            ]
            assert question.answer in shown
            batch = pack([np.zeros((height, width, 3), np.uint8)], None, [[question]], [[token]])
            names = [load_tokenizer().decode([batch.tokens[0, 0, at]]) for at in batch.looks[0, 0, 1:]]
            assert batch.looks[0, 0, 0] == token
            assert names == [QUOTED.findall(question.question)[0], QUOTED.findall(question.question)[-1]]
            count += 1
    assert count > 50
