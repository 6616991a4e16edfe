"""The tokens of a checkpoint as llguidance sees them: their bytes, and how text is spelled in them.

llguidance spells forced text in tokens itself. The tokenizer's normalizer would change the bytes that the
format demands, and its added tokens would let `<|im_end|>` in a literal end the answer. Both are switched
off. Takes seconds and 200 MiB with 152,000 tokens. Independent of formats.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer

from decoder_svc.sampling.detokenizer import Vocabulary

if TYPE_CHECKING:
    from llguidance import LLTokenizer


@dataclass(frozen=True)
class TokenSet:
    """The folder of the tokens, the number of logits, and the tokens that end an answer."""

    folder: Path
    vocab_size: int
    eos_ids: frozenset[int]

    def packed(self) -> str:
        """For another process."""
        return json.dumps([str(self.folder.resolve()), self.vocab_size, sorted(self.eos_ids)])

    @classmethod
    def parse(cls, packed: str) -> TokenSet:
        folder, vocab_size, eos_ids = json.loads(packed)
        return cls(Path(folder), vocab_size, frozenset(eos_ids))

    def load(self) -> LLTokenizer:
        """Ids that the tokenizer does not know are never allowed."""
        from llguidance import LLTokenizer  # only formats need it
        from llguidance._tokenizer import TokenizerWrapper

        return LLTokenizer(
            TokenizerWrapper(_Spelling(self)), n_vocab=self.vocab_size, eos_token=sorted(self.eos_ids)
        )


class _Spelling:
    """The interface that llguidance's TokenizerWrapper needs."""

    bos_token_id = None

    def __init__(self, tokens: TokenSet) -> None:
        self._tokenizer = Tokenizer.from_file(str(tokens.folder / "tokenizer.json"))
        self._tokenizer.normalizer = None
        self._tokenizer.encode_special_tokens = True
        added = self._tokenizer.get_added_tokens_decoder()
        self.special_token_ids = [token_id for token_id, token in added.items() if token.special]
        self.eos_token_id = min(tokens.eos_ids)
        text = Vocabulary(tokens.folder).token_bytes
        text |= {token_id: added[token_id].content.encode() for token_id in self.special_token_ids}
        self.tokens = [text.get(token_id, b"") for token_id in range(tokens.vocab_size)]

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids
