"""From token ids to text, token by token.

Byte-level BPE only: a token stands for bytes, so the text is their UTF-8 decoding and earlier tokens need not
be decoded again. The result equals decoding all tokens at once. Independent of models.

Python's incremental UTF-8 decoder is used instead of `tokenizers.decoders.DecodeStream`, which withholds text
that ends in U+FFFD. Invalid bytes would leave only with the next valid character; a final U+FFFD would be
lost.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from decoder_svc.prompt.tokenizer import FILE, read_tokenizer
from fovea.checkpoint import read_json
from fovea.contract.errors import CheckpointNotSupported


def _byte_of_char() -> dict[str, int]:
    """The bijection of byte-level BPE (GPT-2): printable bytes are themselves, others count from 256."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in set(printable)]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


class Vocabulary:
    """The bytes of every token of a checkpoint's tokenizer. Special tokens have none."""

    def __init__(self, folder: Path) -> None:
        decoder = read_json(folder, FILE).get("decoder")
        kind = decoder.get("type") if isinstance(decoder, dict) else None
        if kind != "ByteLevel":
            raise CheckpointNotSupported(
                f"{FILE}: decoder.type is {kind}; it must be ByteLevel",
                file=FILE,
                field="decoder.type",
                actual=kind,
            )
        self._tokenizer = read_tokenizer(folder)

    @cached_property
    def token_bytes(self) -> dict[int, bytes]:
        byte = _byte_of_char()
        special = {i for i, t in self._tokenizer.get_added_tokens_decoder().items() if t.special}
        return {
            token_id: bytes(byte[c] for c in token) if all(c in byte for c in token) else token.encode()
            for token, token_id in self._tokenizer.get_vocab(with_added_tokens=True).items()
            if token_id not in special
        }


@dataclass(frozen=True)
class Piece:
    """Text that is final, and the stop string that ended it."""

    text: str
    stop: str | None = None


class TextStream:
    """The text of an answer. Withholds unfinished characters and text that may begin a stop string."""

    def __init__(self, vocabulary: Vocabulary, stop: Sequence[str] = ()) -> None:
        self._bytes = vocabulary.token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = stop
        self._held = ""

    def push(self, token_id: int) -> Piece:
        self._held += self._utf8.decode(self._bytes.get(token_id, b""))
        return self._match() or Piece(self._release(self._could_begin_stop()))

    def finish(self) -> str:
        """The withheld text after the last token, without the bytes of an unfinished character."""
        return self._release(0)

    def _match(self) -> Piece | None:
        """The earliest stop string in the withheld text; at the same position the longest."""
        matches = [(self._held.find(s), -len(s), s) for s in self._stop if s in self._held]
        if not matches:
            return None
        at, _, stop = min(matches)
        return Piece(self._held[:at], stop)

    def _could_begin_stop(self) -> int:
        """Length of the longest end of the withheld text that begins a stop string."""
        longest = max((len(s) for s in self._stop), default=0)
        for n in range(min(longest, len(self._held)), 0, -1):
            if any(s.startswith(self._held[-n:]) for s in self._stop):
                return n
        return 0

    def _release(self, keep: int) -> str:
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text
