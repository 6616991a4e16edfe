"""Renders and tokenises a chat, keeping the caller's text apart from the template's control tokens.

Works in three steps. Each control token spelled in caller text is replaced by an unguessable marker. The
template renders the chat, so the remaining control tokens are its own. The markers become text again inside
the runs that are encoded as text. As a check, the control tokens must equal those of the same chat with
harmless texts, whatever the template does with its input.
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
    """Encodes messages to token ids, with a placeholder per image. Keeps no state of a request."""

    def __init__(self, tokenizer: PromptTokenizer, template: ChatTemplate) -> None:
        self.tokenizer = tokenizer
        self._template = template

    @classmethod
    def load(cls, directory: Path) -> ChatEncoder:
        return cls(PromptTokenizer.load(directory), ChatTemplate.load(directory))

    def encode(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Token ids of the chat and the generation prompt. Raises TemplateRefused."""
        markers = _markers(self.tokenizer)
        rendered = self._render(messages, lambda text: self.tokenizer.hide(text, markers))
        harmless = self._render(messages, lambda text: "x" if text.strip() else text)
        if self.tokenizer.controls_in(rendered) != self.tokenizer.controls_in(harmless):
            raise TemplateRefused("the chat's text would write control tokens through the template")
        return self.tokenizer.encode_rendered(rendered, {v: k for k, v in markers.items()})

    def _render(self, messages: Sequence[ChatMessage], rewrite: Rewrite) -> str:
        return self._template.render(
            [{"role": m.role, "content": _content(m.parts, rewrite)} for m in messages]
        )


def _markers(tokenizer: PromptTokenizer) -> dict[str, str]:
    """A marker for each control token. Its nonce is drawn after the text arrived, so no text contains it."""
    nonce = secrets.token_hex(16)
    return {token: f"\ue000{nonce}.{id}\ue001" for token, id in tokenizer.control.items()}


def _content(parts: Sequence[Part], rewrite: Rewrite) -> str | list[dict[str, Any]]:
    """A message's parts as templates expect them; a string if there is only text.

    Adjacent texts are joined before rewriting, because the template joins them: otherwise two halves of a
    control token would meet after the rewriting.
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
