"""The format of an answer as the set of tokens that may come next.

Compiles a format with llguidance against the checkpoint's tokens and follows an answer through it. A format
that cannot be enforced within the bounds below is refused, so that no caller's expression delays the step
that all share. Compiling may take seconds and much memory; `formats` decides where it happens. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from llguidance import LLExecutor, LLMatcher, LLParserLimits, LLTokenizer
from llguidance.numpy import fill_next_token_bitmask_par
from numpy.typing import NDArray

from decoder_svc.errors import FormatNotEnforceable
from decoder_svc.sampling.keywords import Unenforceable
from fovea.contract.errors import InvalidArgument

# The first two are a tenth of llguidance's defaults: with 152k tokens, `(a{1000}){1000}` fails after 0.4 s
# and 20 MiB instead of 8 s and 170 MiB, and a list of 5,000 words still passes. A lexer state takes 1-2 KB.
# The bounds of a step are the defaults: no step of 30 hostile formats took more than 40 ms of a core.
BOUNDS = LLParserLimits(
    initial_lexer_fuel=100_000,
    max_lexer_states=25_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_items_in_row=2_000,
    verbose_errors=False,
)
_VIEW = re.compile(r"\s*(\d+ \| .*|\^+|<non-verbose/>)\s*")


def compiled(tokenizer: LLTokenizer, source: str) -> LLMatcher:
    """A matcher at its start. Raises Unenforceable if a copy fails at the first mask or token."""
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
    """llguidance's message without the excerpt of a grammar that the caller did not write."""
    lines = (line for line in why.splitlines() if not _VIEW.fullmatch(line))
    return re.sub(r"^at \d+\(\d+\): ", "", " ".join(" ".join(lines).split()))


class Grammar:
    """The position of an answer in its format. `failure` is set once the format can no longer be enforced."""

    def __init__(self, matcher: LLMatcher, executor: LLExecutor, field: str) -> None:
        self.matcher = matcher
        self.executor = executor
        self.failure: InvalidArgument | None = None
        self._field = field
        self.check()

    def copy(self) -> Grammar:
        """An independent grammar at the same position."""
        return Grammar(self.matcher.deep_copy(), self.executor, self._field)

    def advance(self, token_id: int) -> None:
        """Append a token to the answer. At the end of the format only an end token is allowed."""
        self.matcher.consume_token(token_id)
        self.check()

    def check(self) -> None:
        if self.failure is None and self.matcher.is_error():
            self.failure = FormatNotEnforceable(self._field, _reason(self.matcher.get_error()))


def allowed(grammars: Sequence[Grammar], vocab_size: int) -> NDArray[np.int32]:
    """Bits (grammars, words), lowest first. A failed grammar allows all tokens: its answer is discarded."""
    bits = np.zeros((len(grammars), -(-vocab_size // 32)), np.int32)
    rows = [(grammar.matcher, row) for row, grammar in enumerate(grammars)]
    fill_next_token_bitmask_par(grammars[0].executor, rows, bits)
    for row, grammar in enumerate(grammars):
        grammar.check()
        if grammar.failure is not None:
            bits[row] = -1
    return bits
