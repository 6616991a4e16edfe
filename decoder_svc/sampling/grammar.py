"""A format that an answer must match, as the tokens that may come next.

Compiles a `ResponseFormat` with llguidance against the checkpoint's tokenizer, and follows one answer
through it. What cannot be enforced within the bounds below is refused, so that no caller's expression
holds up the step that others share. Knows no logits and no torch; it does not judge what was said, it
only lets nothing else be said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from llguidance import LLExecutor, LLMatcher, LLParserLimits, LLTokenizer
from llguidance.numpy import fill_next_token_bitmask_par
from numpy.typing import NDArray

from decoder_svc.engine.protocol import ResponseFormat
from decoder_svc.errors import FormatNotEnforceable
from fovea.contract.errors import InvalidArgument

# A tenth of llguidance's own: with 152k tokens `(a{1000}){1000}` is then given up after 0.4 s and 20 MiB,
# not 8 s and 170 MiB, and a list of 5,000 words still passes. A lexer state is a kilobyte or two.
BOUNDS = LLParserLimits(initial_lexer_fuel=100_000, max_lexer_states=25_000, verbose_errors=False)
KEPT = 32  # formats; callers who extract fields send the same one again and again
# Free whitespace invites a model to print nothing else; one space more or less covers what JSON writers do.
JSON_RULES: dict[str, Any] = {"whitespace_pattern": " ?", "lenient": False}
_VIEW = re.compile(r"\s*(\d+ \| .*|\^+|<non-verbose/>)\s*")


def field_of(wanted: ResponseFormat) -> str:
    """Where the format stands in a request."""
    return f"response_format.{wanted.kind}"


@lru_cache(KEPT)
def check_format(wanted: ResponseFormat) -> None:
    """Raises FormatNotEnforceable where no tokenizer is needed to see it.

    Slow, up to a second: not for an event loop.
    """
    why = LLMatcher.validate_grammar(_source(wanted), limits=BOUNDS)
    if why:
        raise FormatNotEnforceable(field_of(wanted), _reason(why))


def _reason(why: str) -> str:
    """llguidance's message without its view of a grammar that the caller has not written."""
    lines = (line for line in why.splitlines() if not _VIEW.fullmatch(line))
    return re.sub(r"^at \d+\(\d+\): ", "", " ".join(" ".join(lines).split()))


def _source(wanted: ResponseFormat) -> str:
    """The format in llguidance's own words. All three are built from parsed or escaped values: nothing that a
    caller writes can name another grammar.
    """
    if wanted.kind == "json_schema":
        return LLMatcher.grammar_from_json_schema(_schema(wanted), overrides=JSON_RULES)  # type: ignore[arg-type]
    if wanted.kind == "choice":
        return LLMatcher.grammar_from_regex("|".join(re.escape(option) for option in wanted.source))
    pattern = wanted.source[0]
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:  # llguidance would read it as a backslash
        raise FormatNotEnforceable(field_of(wanted), "ends in a lone backslash")
    return LLMatcher.grammar_from_regex(pattern)


def _schema(wanted: ResponseFormat) -> dict[str, Any]:
    try:
        schema = json.loads(wanted.source[0])
    except (ValueError, RecursionError) as error:
        raise FormatNotEnforceable(field_of(wanted), f"not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise FormatNotEnforceable(field_of(wanted), "must be a JSON object")
    return schema


class Grammar:
    """Where one answer stands in its format. `failure` is set once the format can be held no longer."""

    def __init__(self, matcher: LLMatcher, executor: LLExecutor, field: str) -> None:
        self.matcher = matcher
        self.executor = executor
        self.failure: InvalidArgument | None = None
        self._field = field
        self.check()

    def copy(self) -> Grammar:
        """One that stands at the same place, and goes its own way."""
        return Grammar(self.matcher.deep_copy(), self.executor, self._field)

    def advance(self, token_id: int) -> None:
        """The answer goes on with this token. After the last one only an end token is allowed."""
        self.matcher.consume_token(token_id)
        self.check()

    def check(self) -> None:
        if self.failure is None and self.matcher.is_error():
            self.failure = FormatNotEnforceable(self._field, _reason(self.matcher.get_error()))


class Grammars:
    """Compiles formats for one checkpoint; for any thread but the event loop's and the worker's."""

    def __init__(self, folder: Path, vocab_size: int, eos_ids: frozenset[int]) -> None:
        """`vocab_size` is that of the logits; what the tokenizer does not know is never allowed."""
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        self._tokenizer = LLTokenizer(text, n_vocab=vocab_size, eos_token=sorted(eos_ids))
        self._executor = LLExecutor()
        self._vocab_size = vocab_size
        self._kept = lru_cache(KEPT)(self._compile)

    def compile(self, wanted: ResponseFormat) -> Grammar:
        """Raises FormatNotEnforceable."""
        return self._kept(wanted).copy()

    def _compile(self, wanted: ResponseFormat) -> Grammar:
        """Not yet begun, but tried: hard expressions give up at the first mask, or at the first token."""
        matcher = LLMatcher(self._tokenizer, _source(wanted), log_level=0, limits=BOUNDS)
        grammar = Grammar(matcher, self._executor, field_of(wanted))
        bits = allowed([grammar], self._vocab_size)
        trial = grammar.copy()
        trial.advance(int(np.unpackbits(bits.view(np.uint8), bitorder="little").argmax()))
        if failure := grammar.failure or trial.failure:
            raise failure
        return grammar


def allowed(grammars: Sequence[Grammar], vocab_size: int) -> NDArray[np.int32]:
    """One bit a token, 32 to a word, the lowest first: (grammars, words).

    All of a grammar that fails are set: its answer is thrown away.
    """
    bits = np.zeros((len(grammars), -(-vocab_size // 32)), np.int32)
    rows = [(grammar.matcher, row) for row, grammar in enumerate(grammars)]
    fill_next_token_bitmask_par(grammars[0].executor, rows, bits)
    for row, grammar in enumerate(grammars):
        grammar.check()
        if grammar.failure is not None:
            bits[row] = -1
    return bits
