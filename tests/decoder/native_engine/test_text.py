"""Streamed text equals text decoded at once. It never ends inside a character and holds no stop string."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from decoder_svc.sampling.detokenizer import TextStream, Vocabulary
from fovea.contract.errors import CheckpointNotSupported
from tests import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("text"), "dense", text_layers=1)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def vocabulary(folder: Path) -> Vocabulary:
    return Vocabulary(folder)


def pieces(vocabulary: Vocabulary, ids: list[int], stop: tuple[str, ...] = ()) -> list[str]:
    """The emitted text, token by token. The last piece is released by the end."""
    text = TextStream(vocabulary, stop)
    out = []
    for token in ids:
        piece = text.push(token)
        out.append(piece.text)
        if piece.stop:
            return out
    return [*out, text.finish()]


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_pieces_add_up_to_the_decoded_whole(
    vocabulary: Vocabulary, tokenizer: Tokenizer, data: st.DataObject
) -> None:
    """Any tokens, including invalid UTF-8, special tokens and ids beyond the vocabulary, followed by a complete character."""
    ids = data.draw(st.lists(st.integers(0, tokenizer.get_vocab_size() + 5)))
    ids.append(tokenizer.token_to_id("x"))
    assert "".join(pieces(vocabulary, ids)) == tokenizer.decode(ids, skip_special_tokens=True)


@given(text=st.text())
@settings(max_examples=200, deadline=None)
def test_no_piece_ends_inside_a_character(vocabulary: Vocabulary, tokenizer: Tokenizer, text: str) -> None:
    text = tokenizer.normalizer.normalize_str(text)
    out = pieces(vocabulary, tokenizer.encode(text, add_special_tokens=False).ids)
    assert "".join(out) == tokenizer.decode(tokenizer.encode(text).ids)
    assert all("\ufffd" not in piece for piece in out) or "\ufffd" in text


@given(
    text=st.text("abc", max_size=30),
    stop=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_text_ends_before_the_first_stop_string_to_be_complete(
    vocabulary: Vocabulary, tokenizer: Tokenizer, text: str, stop: list[str]
) -> None:
    """Compared with the simple rule: add tokens until the text holds a stop string, then cut at its beginning."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    expected = text
    for end in range(1, len(ids) + 1):
        so_far = tokenizer.decode(ids[:end])
        begins = [so_far.index(s) for s in stop if s in so_far]
        if begins:
            expected = so_far[: min(begins)]
            break
    assert "".join(pieces(vocabulary, ids, tuple(stop))) == expected


def test_text_that_cannot_begin_a_stop_string_is_not_held_back(
    vocabulary: Vocabulary, tokenizer: Tokenizer
) -> None:
    ids = tokenizer.encode("xyxyz", add_special_tokens=False).ids
    assert pieces(vocabulary, ids, ("END",)) == ["x", "y", "x", "y", "z", ""]
    assert pieces(vocabulary, ids, ("xyz",)) == ["", "", "xy", "", ""]


def test_incomplete_characters_are_never_emitted(vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("é", add_special_tokens=False).ids
    assert len(ids) == 2
    assert pieces(vocabulary, ids) == ["", "é", ""]
    assert pieces(vocabulary, ids[:1]) == ["", ""]
    assert pieces(vocabulary, ids[:1], ("\ufffd",)) == ["", ""]


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotSupported):
        Vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"decoder": {"type": "Metaspace"}}')
    with pytest.raises(CheckpointNotSupported, match="Metaspace"):
        Vocabulary(tmp_path)
