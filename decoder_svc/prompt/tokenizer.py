"""Text to token ids and back, with the checkpoint's tokenizer.json and nothing else.

Control tokens (`<|im_end|>`, `<|image_pad|>` ...: the special ones of the tokenizer) are written by the
chat template alone. So the tokenizer here never reads them out of text; a rendered chat is cut at them, every
run between two is encoded as one string, and they are put back by id. For chats whose text spells no control
token the ids are those of `transformers`, which cuts at the same places. Other added tokens (`<think>`) stay
what they are there: they close no turn and open no image.

This module knows no chat and no image.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from fovea.checkpoint import read_json
from fovea.contract.errors import CheckpointNotSupported

FILE = "tokenizer.json"


def read_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder; CheckpointNotSupported where there is none that has tokens."""
    read_json(directory, FILE)
    try:
        tokenizer = Tokenizer.from_file(str(directory / FILE))
    except Exception as error:  # the library raises nothing narrower
        why = " ".join(str(error).split())[:200]
        raise CheckpointNotSupported(f"{FILE} describes no tokenizer: {why}", file=FILE) from error
    if not tokenizer.get_vocab_size(with_added_tokens=False):
        raise CheckpointNotSupported(
            f"{FILE} has no tokens: model.vocab is empty", file=FILE, field="model.vocab"
        )
    return tokenizer


class PromptTokenizer:
    """A tokenizer that keeps what a template writes apart from what a caller writes."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # that is: as text
        self._tokenizer = tokenizer
        self.control: Mapping[str, int] = {
            token.content: id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special
        }
        self._cut = _alternation(self.control)
        self._longest = max(len(text.encode()) for text in tokenizer.get_vocab() if text not in self.control)
        self._refuse_leaks()

    @classmethod
    def load(cls, directory: Path) -> PromptTokenizer:
        """Raises CheckpointNotSupported."""
        return cls(read_tokenizer(directory))

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text: never a control token, whatever it spells."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_rendered(self, rendered: str, reveal: Mapping[str, str]) -> list[int]:
        """Ids of a rendered chat. Control tokens in it are the template's; `reveal` maps the stand-ins for
        those that a caller spelled to what was spelled."""
        hidden = _alternation(reveal)
        ids: list[int] = []
        for at, piece in enumerate(self._cut.split(rendered)):
            if at % 2:  # a capturing group puts what was cut at every second place
                ids.append(self.control[piece])
            elif piece:
                ids += self.encode_text(hidden.sub(lambda m: reveal[m[0]], piece))
        return ids

    def hide(self, text: str, hidden: Mapping[str, str]) -> str:
        """`text` with every control token that it spells replaced by the stand-in that `hidden` names."""
        return self._cut.sub(lambda m: hidden[m[0]], text)

    def controls_in(self, rendered: str) -> list[int]:
        """The ids of the control tokens in a rendered chat, in order."""
        return [self.control[token] for token in self._cut.findall(rendered)]

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=skip_control)
        return text

    def least_tokens(self, text: str) -> int:
        """A number of tokens below which `text` cannot be encoded, known without encoding it.

        A token of a byte-level vocabulary stands for no more bytes than its name has.
        """
        normalizer = self._tokenizer.normalizer
        normal = normalizer.normalize_str(text) if normalizer is not None else text
        return -(-len(normal.encode()) // self._longest)

    def require_control(self, ids: Iterable[int]) -> None:
        """Refuse a checkpoint in which one of these ids could be written by text."""
        missing = sorted(set(ids) - set(self.control.values()))
        if missing:
            raise CheckpointNotSupported(
                f"tokenizer.json does not mark the ids {missing} as special tokens", ids=missing
            )

    def require_within(self, vocab_size: int) -> None:
        """Refuse a checkpoint whose model has no embedding for some of the tokens."""
        highest = max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        if highest >= vocab_size:
            raise CheckpointNotSupported(
                f"{FILE} has the id {highest}; text_config.vocab_size of config.json is {vocab_size}",
                file=FILE,
                actual=highest,
                limit=vocab_size,
            )

    def _refuse_leaks(self) -> None:
        """A vocabulary that can spell a control token from plain text would let callers end their turn."""
        ids = set(self.control.values())
        leaks = [text for text in self.control if ids.intersection(self.encode_text(text))]
        if leaks:
            raise CheckpointNotSupported(
                f"tokenizer.json encodes {leaks} as control tokens even in plain text", tokens=leaks
            )


def _alternation(strings: Iterable[str]) -> re.Pattern[str]:
    """Matches any of `strings`, the longest first, as the tokenizer does; nothing where there is none."""
    ordered = sorted(strings, key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")") if ordered else re.compile("((?!))")
