"""Encodes and decodes text with the checkpoint's tokenizer.json.

Only the chat template may write control tokens (the tokenizer's special tokens, such as `<|im_end|>` and
`<|image_pad|>`), so text is never parsed for them. A rendered chat is split at its control tokens; the runs
between them are encoded as plain text, and the control tokens are inserted by id. If no text spells a control
token, the ids equal those of `transformers`, which splits at the same points. Other added tokens (`<think>`)
are handled as in `transformers`: they neither end a turn nor start an image.
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
    """The tokenizer of a checkpoint folder. Raises CheckpointNotSupported if it is missing or empty."""
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
    """A tokenizer that keeps control tokens of the template apart from caller text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # encodes them as plain text
        self._tokenizer = tokenizer
        self.control: Mapping[str, int] = {
            token.content: id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special
        }
        self._control_pattern = _alternation(self.control)
        self._longest = max(len(text.encode()) for text in tokenizer.get_vocab() if text not in self.control)
        self._refuse_leaks()

    @classmethod
    def load(cls, directory: Path) -> PromptTokenizer:
        """Raises CheckpointNotSupported."""
        return cls(read_tokenizer(directory))

    def encode_text(self, text: str) -> list[int]:
        """Ids of plain text, never a control token."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_rendered(self, rendered: str, reveal: Mapping[str, str]) -> list[int]:
        """Ids of a rendered chat. Its control tokens are the template's; `reveal` maps the markers of control
        tokens in caller text back to that text.
        """
        markers = _alternation(reveal)
        ids: list[int] = []
        for at, piece in enumerate(self._control_pattern.split(rendered)):
            if at % 2:  # the capturing group puts the separators at odd positions
                ids.append(self.control[piece])
            elif piece:
                ids += self.encode_text(markers.sub(lambda m: reveal[m[0]], piece))
        return ids

    def hide(self, text: str, markers: Mapping[str, str]) -> str:
        """`text` with every control token that it spells replaced by its marker."""
        return self._control_pattern.sub(lambda m: markers[m[0]], text)

    def controls_in(self, rendered: str) -> list[int]:
        """The ids of the control tokens in a rendered chat, in order."""
        return [self.control[token] for token in self._control_pattern.findall(rendered)]

    def after_controls(self, rendered: str) -> str:
        """The text of a rendered chat after its last control token."""
        text: str = self._control_pattern.split(rendered)[-1]
        return text

    def texts_in(self, rendered: str, reveal: Mapping[str, str]) -> str:
        """The text of a rendered chat between its control tokens, with the text of markers."""
        markers = _alternation(reveal)
        return markers.sub(lambda m: reveal[m[0]], "".join(self._control_pattern.split(rendered)[::2]))

    def decode(self, ids: Sequence[int], *, skip_control: bool = True) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=skip_control)
        return text

    def least_tokens(self, text: str) -> int:
        """A lower bound on the tokens of `text`, without encoding it.

        A token of a byte-level vocabulary stands for at most as many bytes as its name has.
        """
        normalizer = self._tokenizer.normalizer
        normal = normalizer.normalize_str(text) if normalizer is not None else text
        return -(-len(normal.encode()) // self._longest)

    def require_control(self, ids: Iterable[int]) -> None:
        """Refuse a checkpoint in which text could produce any of these ids."""
        missing = sorted(set(ids) - set(self.control.values()))
        if missing:
            raise CheckpointNotSupported(
                f"tokenizer.json does not mark the ids {missing} as special tokens", ids=missing
            )

    def require_within(self, vocab_size: int) -> None:
        """Refuse a checkpoint whose model lacks embeddings for some tokens."""
        highest = max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        if highest >= vocab_size:
            raise CheckpointNotSupported(
                f"{FILE} has the id {highest}; text_config.vocab_size of config.json is {vocab_size}",
                file=FILE,
                actual=highest,
                limit=vocab_size,
            )

    def _refuse_leaks(self) -> None:
        """Refuse a vocabulary that encodes plain text as control tokens: callers could end their turn."""
        ids = set(self.control.values())
        leaks = [text for text in self.control if ids.intersection(self.encode_text(text))]
        if leaks:
            raise CheckpointNotSupported(
                f"tokenizer.json encodes {leaks} as control tokens even in plain text", tokens=leaks
            )


def _alternation(strings: Iterable[str]) -> re.Pattern[str]:
    """A pattern that matches any of `strings`, longest first, as the tokenizer does; nothing if empty."""
    ordered = sorted(strings, key=len, reverse=True)
    return re.compile("(" + "|".join(map(re.escape, ordered)) + ")") if ordered else re.compile("((?!))")
