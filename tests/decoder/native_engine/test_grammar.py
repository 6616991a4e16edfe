"""A format becomes a mask of allowed tokens. An unenforceable format is refused by field, quickly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from decoder_svc.engine.admission import check_sampling
from decoder_svc.engine.protocol import EngineLimits, ResponseFormat, Sampling
from decoder_svc.errors import FormatTooLarge
from decoder_svc.sampling.detokenizer import Vocabulary
from decoder_svc.sampling.formats import Grammars
from decoder_svc.sampling.grammar import Grammar, allowed
from decoder_svc.sampling.keywords import Unenforceable
from decoder_svc.sampling.source import grammar_source
from decoder_svc.sampling.trie import TokenSet
from fovea.contract.errors import InvalidArgument
from standin import model_dir

FOLDER = model_dir()
SIZE = json.loads((FOLDER / "config.json").read_text())["text_config"]["vocab_size"]
END = (999, 1001)
SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "blue"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "note": {"type": "string", "maxLength": 8},
    },
    "required": ["colour", "count"],
    "additionalProperties": False,
}


def schema(value: object) -> ResponseFormat:
    return ResponseFormat("json_schema", (value if isinstance(value, str) else json.dumps(value),))


def regex(pattern: str) -> ResponseFormat:
    return ResponseFormat("regex", (pattern,))


def choice(*options: str) -> ResponseFormat:
    return ResponseFormat("choice", options)


class Compiler:
    """Compiles formats to grammars directly, in this process."""

    def __init__(self, folder: Path, eos_ids: frozenset[int]) -> None:
        self._grammars = Grammars(TokenSet(folder, SIZE, eos_ids))

    def compile(self, wanted: ResponseFormat) -> Grammar:
        return self._grammars.compile(wanted, grammar_source(wanted.kind, wanted.source), "acme")


@pytest.fixture(scope="module")
def grammars() -> Compiler:
    return Compiler(FOLDER, frozenset(END))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def may_come(grammar: Grammar) -> set[int]:
    bits = np.unpackbits(allowed([grammar], SIZE).view(np.uint8), bitorder="little")[:SIZE]
    return set(np.flatnonzero(bits).tolist())


def takes(grammar: Grammar, tokenizer: Tokenizer, answer: str) -> bool:
    """Whether the grammar accepts the whole answer and its end."""
    for token in tokenizer.encode(answer, add_special_tokens=False).ids:
        if token not in may_come(grammar):
            return False
        grammar.advance(token)
    return set(END) <= may_come(grammar)


@pytest.mark.parametrize(
    ("wanted", "right", "wrong"),
    [
        (
            schema(SCHEMA),
            ['{"colour":"red","count":7}', '{"colour": "blue", "count": 42, "note": "é\\n"}'],
            ['{"colour":"green","count":7}', '{"colour":"red"}', '{"colour":"red","count":100}', "red",
             '{"colour":"red","count":1.5}', '{"colour":  "red","count":7}', '{"colour":"red","count":7} '],
        ),
        (regex(r"[0-9]{2}/\d+\n?"), ["12/3", "12/345\n"], ["1/3", "12/", "12/3 ", "x12/3"]),
        (
            choice("red", "reddish", 'a/b|c"\\', "two\nlines", "价格", "{}"),
            ["red", "reddish", 'a/b|c"\\', "two\nlines", "价格", "{}"],
            ["re", "reddi", "a/b", "redred", "", "red "],
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, ResponseFormat) else "",
)  # fmt: skip
def test_grammars_accept_exactly_the_matching_answers(
    grammars: Compiler, tokenizer: Tokenizer, wanted: ResponseFormat, right: list[str], wrong: list[str]
) -> None:
    assert [answer for answer in right if not takes(grammars.compile(wanted), tokenizer, answer)] == []
    assert [answer for answer in wrong if takes(grammars.compile(wanted), tokenizer, answer)] == []


def test_only_an_end_token_may_follow_a_complete_match(grammars: Compiler, tokenizer: Tokenizer) -> None:
    grammar = grammars.compile(choice("yellow"))
    assert takes(grammar, tokenizer, "yellow")
    assert may_come(grammar) == set(END)


def test_tokens_beyond_the_tokenizer_and_special_ones_are_never_allowed(
    grammars: Compiler, tokenizer: Tokenizer
) -> None:
    """The logits have more entries than there are tokens. `.` with newlines allows every text."""
    free = may_come(grammars.compile(regex(r"(?s:.)+")))
    assert max(free) < tokenizer.get_vocab_size() < SIZE
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    assert not free & special
    assert free == {i for i, data in Vocabulary(FOLDER).token_bytes.items() if _begins_text(data)}


def _begins_text(data: bytes) -> bool:
    """Complete characters, except that the last may be incomplete."""
    return any(
        _decodes(data + rest)
        for rest in (b"", b"\x80", b"\x80\x80", b"\x80\x80\x80", b"\xa0\x80", b"\x90\x80\x80")
    )


def _decodes(data: bytes) -> bool:
    try:
        return bool(data.decode())
    except UnicodeDecodeError:
        return False


def test_an_expression_that_would_hold_up_the_others_is_given_up_before_it_is_run(grammars: Compiler) -> None:
    """And a long list of words is not."""
    with pytest.raises(Unenforceable, match="too many"):
        grammars.compile(regex("(a{1000}){1000}"))
    assert grammars.compile(choice(*(f"word {number}" for number in range(5000)))).failure is None


@pytest.mark.parametrize(
    ("wanted", "field"),
    [(choice(), "choice"), (choice("a", ""), "choice"), (regex(""), "regex"), (schema(""), "json_schema")],
)
def test_a_format_without_content_is_refused(wanted: ResponseFormat, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_sampling(Sampling(response_format=wanted), EngineLimits(), 50)
    assert [v.field for v in refused.value.violations] == [f"response_format.{field}"]


def test_a_format_above_the_limit_names_both_sizes() -> None:
    limits = EngineLimits(max_format_bytes=8)
    check_sampling(Sampling(response_format=choice("four", "four")), limits, 50)
    with pytest.raises(FormatTooLarge) as refused:
        check_sampling(Sampling(response_format=choice("four", "vier", "é")), limits, 50)
    assert refused.value.metadata == {"limit": "8", "actual": "10"}


def test_a_format_and_no_end_contradict_each_other() -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_sampling(Sampling(response_format=choice("a"), ignore_eos=True), EngineLimits(), 50)
    assert [v.field for v in refused.value.violations] == ["sampling.ignore_eos"]


def test_answers_in_the_same_format_have_separate_grammar_states(
    grammars: Compiler, tokenizer: Tokenizer
) -> None:
    wanted = choice("red", "blue")
    assert takes(grammars.compile(wanted), tokenizer, "red")
    assert takes(grammars.compile(wanted), tokenizer, "blue")


def test_a_checkpoint_whose_end_tokens_are_many_may_end_with_any(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "tokenizer.json").write_bytes((FOLDER / "tokenizer.json").read_bytes())
    compiled = Compiler(folder, frozenset([1001])).compile(regex("a*"))
    assert 999 not in may_come(compiled)
    assert 1001 in may_come(compiled)
