"""Placeholders, positions and spans equal the processor's expansion and the model's own get_rope_index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from decoder_svc.prompt import ChatMessage, ImagePart, PromptBuilder, TextPart
from fovea.contract.errors import ImagesMismatch, RowsMismatch
from tests.decoder.prompt.chats import chats, images_in, joined_texts, ordinary_text, spells_control
from tests.decoder.prompt.reference import MERGE, Reference, positions

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SIDE = st.integers(1, 12).map(lambda side: side * MERGE)
GRID = st.tuples(st.just(1), SIDE, SIDE)


@QUICK
@given(messages=chats(ordinary_text, max_images=5), data=st.data())
def test_prompts_equal_the_reference(
    builder: PromptBuilder, reference: Reference, messages: tuple[ChatMessage, ...], data: st.DataObject
) -> None:
    assume(not any(map(spells_control, joined_texts(messages))))
    grids = data.draw(st.lists(GRID, min_size=images_in(messages), max_size=images_in(messages)))
    prompt = builder.build(messages, grids)
    ids = reference.expanded(messages, grids)
    expected, following = positions(ids, builder.image_token_id, grids)
    assert prompt.token_ids.tolist() == ids
    assert np.array_equal(prompt.positions, expected)
    assert prompt.next_position == following
    assert (prompt.token_ids.dtype, prompt.positions.dtype) == (np.int32, np.int32)


@pytest.mark.parametrize("count", range(6))
@pytest.mark.parametrize("text", ["", "What is in these pictures?"])
def test_images_back_to_back_equal_the_reference(
    builder: PromptBuilder, reference: Reference, count: int, text: str
) -> None:
    grids = [(1, 2 + 2 * i, 14 - 2 * i) for i in range(count)]
    messages = (ChatMessage("user", (*map(ImagePart, range(count)), TextPart(text))),)
    prompt = builder.build(messages, grids)
    ids = reference.expanded(messages, grids)
    expected, following = positions(ids, builder.image_token_id, grids)
    assert prompt.token_ids.tolist() == ids
    assert np.array_equal(prompt.positions, expected)
    assert prompt.next_position == following


@QUICK
@given(grids=st.lists(GRID, min_size=1, max_size=5), data=st.data())
def test_kept_rows_keep_their_positions(
    builder: PromptBuilder, grids: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    """The reduced prompt is the full one with the other rows cut out; what follows does not move."""
    messages = chat(len(grids))
    full = builder.build(messages, grids)
    kept = [data.draw(some_of(t * h * w // MERGE**2)) for t, h, w in grids]
    prompt = builder.build(messages, grids, kept)
    present = np.ones(len(full.token_ids), dtype=bool)
    for span, rows in zip(full.images, kept, strict=True):
        if rows is not None:
            present[span.start : span.end] = np.isin(np.arange(span.rows), rows)
    assert np.array_equal(prompt.token_ids, full.token_ids[present])
    assert np.array_equal(prompt.positions, full.positions[:, present])
    assert prompt.next_position == full.next_position


@QUICK
@given(grids=st.lists(GRID, min_size=1, max_size=5), data=st.data())
def test_spans_cover_the_placeholders(
    builder: PromptBuilder, grids: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    kept = [data.draw(some_of(t * h * w // MERGE**2)) for t, h, w in grids]
    keys = [f"key {i}".encode() for i in range(len(grids))]
    prompt = builder.build(chat(len(grids)), grids, kept, keys)
    covered = np.concatenate([np.arange(span.start, span.end) for span in prompt.images])
    assert covered.tolist() == np.flatnonzero(prompt.token_ids == builder.image_token_id).tolist()
    assert [span.grid_thw for span in prompt.images] == grids
    assert [span.key for span in prompt.images] == keys
    for span, rows in zip(prompt.images, kept, strict=True):
        assert (span.kept is None) == (rows is None)
        assert rows is None or np.array_equal(span.kept, rows)


@QUICK
@given(messages=chats(ordinary_text, max_images=5), data=st.data())
def test_a_prompt_has_the_text_of_its_draft_and_its_visual_tokens(
    builder: PromptBuilder, messages: tuple[ChatMessage, ...], data: st.DataObject
) -> None:
    grids = data.draw(st.lists(GRID, min_size=images_in(messages), max_size=images_in(messages)))
    kept = [data.draw(some_of(t * h * w // MERGE**2)) for t, h, w in grids]
    prompt = builder.build(messages, grids, kept)
    assert len(prompt.token_ids) == builder.draft(messages).text_tokens + prompt.visual_tokens


def test_an_image_may_occur_twice_in_a_prompt(builder: PromptBuilder) -> None:
    grids = [(1, 4, 6), (1, 2, 2)]
    parts = (ImagePart(1), TextPart("and"), ImagePart(0), ImagePart(1), TextPart("?"))
    prompt = builder.build((ChatMessage("user", parts),), grids, keys=[b"a", b"b"])
    assert [(span.rows, span.key) for span in prompt.images] == [(1, b"b"), (6, b"a"), (1, b"b")]
    assert prompt.visual_tokens == 8


def test_a_large_image_is_expanded_whole(tiny_folder: Path) -> None:
    builder = PromptBuilder(tiny_folder)
    prompt = builder.build(chat(1), [(1, 256, 256)])
    expected, following = positions(prompt.token_ids.tolist(), builder.image_token_id, [(1, 256, 256)])
    assert prompt.visual_tokens == 16_384
    assert np.array_equal(prompt.positions, expected)
    assert prompt.next_position == following


@pytest.mark.parametrize("given_images", [0, 1, 3])
def test_the_number_of_images_must_match_the_placeholders(builder: PromptBuilder, given_images: int) -> None:
    with pytest.raises(ImagesMismatch) as caught:
        builder.build(chat(2), [(1, 2, 2)] * given_images)
    assert caught.value.metadata == {"expected": "2", "received": str(given_images)}


@pytest.mark.parametrize("indexes", [(1,), (-1,), (0, 2)])
def test_an_index_without_its_image_is_refused(builder: PromptBuilder, indexes: tuple[int, ...]) -> None:
    message = ChatMessage("user", tuple(map(ImagePart, indexes)))
    with pytest.raises(ImagesMismatch):
        builder.build((message,), [(1, 2, 2)] * len(indexes))


def test_every_image_needs_its_key_and_its_kept_rows(builder: PromptBuilder) -> None:
    with pytest.raises(ImagesMismatch):
        builder.build(chat(2), [(1, 2, 2)] * 2, keys=[b"one"])
    with pytest.raises(ImagesMismatch):
        builder.build(chat(2), [(1, 2, 2)] * 2, kept=[None])


@pytest.mark.parametrize("grid", [(0, 2, 2), (1, 3, 2), (1, 2, 5), (1, -2, 2), (1, 0, 0)])
def test_impossible_grids_are_refused(builder: PromptBuilder, grid: tuple[int, int, int]) -> None:
    with pytest.raises(RowsMismatch):
        builder.build(chat(1), [grid])


@pytest.mark.parametrize("kept", [[], [6], [-1, 0], [1, 1], [2, 1], [[0, 1]]])
def test_kept_rows_that_an_image_lacks_are_refused(builder: PromptBuilder, kept: list[int]) -> None:
    with pytest.raises(RowsMismatch):
        builder.build(chat(1), [(1, 4, 6)], [np.array(kept)])


def chat(images: int) -> tuple[ChatMessage, ...]:
    parts = (TextPart("See "), *map(ImagePart, range(images)), TextPart(" and answer."))
    return (ChatMessage("system", (TextPart("Be brief."),)), ChatMessage("user", parts))


def some_of(rows: int) -> st.SearchStrategy[np.ndarray | None]:
    picked = st.sets(st.integers(0, rows - 1), min_size=1).map(lambda s: np.array(sorted(s), np.int32))
    return st.one_of(st.none(), picked)
