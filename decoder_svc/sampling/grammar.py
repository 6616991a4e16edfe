"""A format that an answer must match, as the tokens that may come next.

Compiles a format with llguidance against the checkpoint's tokens, and follows one answer through it. What
cannot be enforced within the bounds below is refused, so that no caller's expression holds up the step that
others share. Compiling may take seconds and much memory: `formats` says where that happens. Knows no logits
and no torch; it does not judge what was said, it only lets nothing else be said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from llguidance import LLExecutor, LLMatcher, LLParserLimits, LLTokenizer
from llguidance.numpy import fill_next_token_bitmask_par
from numpy.typing import NDArray

from decoder_svc.engine.protocol import ResponseFormat
from decoder_svc.errors import FormatNotEnforceable
from decoder_svc.sampling.keywords import Unenforceable
from decoder_svc.sampling.schema import enforceable
from fovea.contract.errors import InvalidArgument

# The first two are a tenth of llguidance's own: with 152k tokens `(a{1000}){1000}` is then given up after
# 0.4 s and 20 MiB, not 8 s and 170 MiB, and a list of 5,000 words still passes; a lexer state is a kilobyte
# or two. Those of a step are its own: by them no step of 30 hostile formats took more than 40 ms of one core.
BOUNDS = LLParserLimits(
    initial_lexer_fuel=100_000,
    max_lexer_states=25_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_items_in_row=2_000,
    verbose_errors=False,
)
# Free whitespace invites a model to print nothing else; one space more or less covers what JSON writers do.
# By \u a key could be spelt that `properties` has already, and would then hold anything.
JSON_RULES: dict[str, Any] = {
    "whitespace_pattern": " ?",
    "lenient": False,
    "json_allowed_escapes": 'nrbtf\\"',
}
_VIEW = re.compile(r"\s*(\d+ \| .*|\^+|<non-verbose/>)\s*")


def field_of(wanted: ResponseFormat) -> str:
    """Where the format stands in a request."""
    return f"response_format.{wanted.kind}"


def grammar_source(kind: str, source: Sequence[str]) -> str:
    """The format in llguidance's own words. All three are built from parsed or escaped values: nothing that a
    caller writes can name another grammar. Raises Unenforceable or TooCostly.
    """
    if kind == "json_schema":
        schema = json.dumps(enforceable(source[0]))
        return LLMatcher.grammar_from_json_schema(schema, overrides=JSON_RULES)  # type: ignore[arg-type]
    if kind == "choice":
        return LLMatcher.grammar_from_regex("|".join(re.escape(option) for option in source))
    pattern = source[0]
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:  # llguidance would read it as a backslash
        raise Unenforceable("ends in a lone backslash")
    return LLMatcher.grammar_from_regex(pattern)


def compiled(tokenizer: LLTokenizer, source: str) -> LLMatcher:
    """Not yet begun, but tried: hard expressions give up at the first mask, or at the first token. Raises
    Unenforceable.
    """
    matcher = LLMatcher(tokenizer, source, log_level=0, limits=BOUNDS)
    trial = matcher.deep_copy()
    if not trial.is_error():
        bits = np.frombuffer(trial.compute_bitmask(), np.uint8)
        trial.consume_token(int(np.unpackbits(bits, bitorder="little").argmax()))
    for tried in (matcher, trial):
        if tried.is_error():
            raise Unenforceable(_reason(tried.get_error()))
    return matcher


def _reason(why: str) -> str:
    """llguidance's message without its view of a grammar that the caller has not written."""
    lines = (line for line in why.splitlines() if not _VIEW.fullmatch(line))
    return re.sub(r"^at \d+\(\d+\): ", "", " ".join(" ".join(lines).split()))


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
