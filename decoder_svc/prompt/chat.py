"""A chat through the template and the tokenizer, with the caller's words kept apart from the template's.

Three steps. Every control token that a caller spelled is replaced by a stand-in that nobody can guess; the
template renders, and the control tokens in what it wrote are its own; the stand-ins become text again inside
the runs that are encoded as text. And a check: the control tokens must be those of the same chat with
harmless texts, whatever the template does with its input. This module knows no grid and no position.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from decoder_svc.prompt.errors import TemplateRefused
from decoder_svc.prompt.messages import ChatMessage, Part, TextPart
from decoder_svc.prompt.template import ChatTemplate
from decoder_svc.prompt.tokenizer import PromptTokenizer

Rewrite = Callable[[str], str]


class ChatEncoder:
    """Messages to token ids, one placeholder an image. Holds no state of a request."""

    def __init__(self, tokenizer: PromptTokenizer, template: ChatTemplate) -> None:
        self.tokenizer = tokenizer
        self._template = template

    @classmethod
    def load(cls, directory: Path) -> ChatEncoder:
        return cls(PromptTokenizer.load(directory), ChatTemplate.load(directory))

    def encode(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Token ids with the prompt for an answer at their end; raises TemplateRefused."""
        hidden = _stand_ins(self.tokenizer)
        rendered = self._render(messages, lambda text: self.tokenizer.hide(text, hidden))
        harmless = self._render(messages, lambda text: "x" if text.strip() else text)
        if self.tokenizer.controls_in(rendered) != self.tokenizer.controls_in(harmless):
            raise TemplateRefused("the chat's text would write control tokens through the template")
        return self.tokenizer.encode_rendered(rendered, {v: k for k, v in hidden.items()})

    def _render(self, messages: Sequence[ChatMessage], rewrite: Rewrite) -> str:
        return self._template.render(
            [{"role": m.role, "content": _content(m.parts, rewrite)} for m in messages]
        )


def _stand_ins(tokenizer: PromptTokenizer) -> dict[str, str]:
    """For each control token a string drawn after the caller wrote: it can stand in no text of his."""
    nonce = secrets.token_hex(16)
    return {token: f"\ue000{nonce}.{id}\ue001" for token, id in tokenizer.control.items()}


def _content(parts: Sequence[Part], rewrite: Rewrite) -> str | list[dict[str, Any]]:
    """A message's parts as templates expect them; a string where there is only text.

    Neighbouring texts are joined first, because the template joins them: else two halves of a control token
    would meet behind the rewriting.
    """
    joined: list[dict[str, Any]] = []
    for is_text, group in groupby(parts, lambda part: isinstance(part, TextPart)):
        if is_text:
            text = "".join(part.text for part in group if isinstance(part, TextPart))
            joined.append({"type": "text", "text": rewrite(text)})
        else:
            joined += [{"type": "image"} for _ in group]
    only_text = len(joined) == 1 and "text" in joined[0]
    return joined[0]["text"] if only_text else joined
