"""Renders and tokenises a chat, keeping the caller's text apart from the template's control tokens.

Works in three steps. Each control token spelled in caller text is replaced by an unguessable marker. The
template renders the chat, so the remaining control tokens are its own. The markers become text again inside
the runs that are encoded as text. As a check, the control tokens must equal those of the same chat with
harmless texts, whatever the template does with its input. Texts are also the descriptions and schemas of
tools, the arguments of their calls, and their results.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from decoder_svc.engine.protocol import Reasoning
from decoder_svc.prompt.errors import NotInTemplate, TemplateRefused, TextTooLong
from decoder_svc.prompt.messages import PLAIN, ChatMessage, ChatOptions, Part, TextPart
from decoder_svc.prompt.template import ChatTemplate
from decoder_svc.prompt.tokenizer import PromptTokenizer
from decoder_svc.prompt.tools import called, described

OPENING, CLOSING = "<think>", "</think>"
KEPT_WORDS = frozenset(
    (
        "type", "properties", "required", "items", "enum", "description", "additionalProperties",
        "object", "array", "string", "number", "integer", "boolean", "null",
    )
)  # fmt: skip
"""Words of JSON schemas on which a template may depend. They are harmless as they are."""


@dataclass(frozen=True)
class EncodedChat:
    """Token ids with a placeholder per image, and whether the answer begins with reasoning."""

    token_ids: list[int]
    reasoning: Reasoning = "none"


@dataclass(frozen=True)
class _Rewrite:
    """Replaces the caller's texts, and the keys of the caller's objects by their number."""

    text: Callable[[str], str]
    key: Callable[[str, int], str]

    def value(self, value: Any) -> Any:
        """A JSON value with every text replaced."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.key(key, at): self.value(v) for at, (key, v) in enumerate(value.items())}
        return [self.value(item) for item in value] if isinstance(value, list) else value


_HARMLESS = _Rewrite(
    lambda text: "x" if text.strip() and text not in KEPT_WORDS else text,
    lambda key, at: key if key in KEPT_WORDS else f"x{at}",
)


class ChatEncoder:
    """Encodes messages to token ids, with a placeholder per image. Keeps no state of a request."""

    def __init__(self, tokenizer: PromptTokenizer, template: ChatTemplate) -> None:
        self.tokenizer = tokenizer
        self._template = template
        self._always_reasons = not template.takes_thinking and self._opens_reasoning()

    @classmethod
    def load(cls, directory: Path) -> ChatEncoder:
        return cls(PromptTokenizer.load(directory), ChatTemplate.load(directory))

    def encode(
        self, messages: Sequence[ChatMessage], options: ChatOptions = PLAIN, max_tokens: int | None = None
    ) -> EncodedChat:
        """The chat with the generation prompt, or up to the end of the text that the answer continues.

        Raises NotInTemplate, ToolsInvalid, TextTooLong or TemplateRefused.
        """
        self._check_options(messages, options)
        nonce = secrets.token_hex(16)  # drawn after the text arrived, so no text contains it
        markers = _markers(self.tokenizer, nonce)
        hiding = _Rewrite(
            lambda text: self.tokenizer.hide(text, markers), lambda key, _: self.tokenizer.hide(key, markers)
        )
        rendered = self._render(messages, options, hiding, nonce)
        harmless = self._render(messages, options, _HARMLESS, nonce)
        if self.tokenizer.controls_in(rendered) != self.tokenizer.controls_in(harmless):
            raise TemplateRefused("the chat's text would write control tokens through the template")
        reveal = {marker: token for token, marker in markers.items()}
        self._check_length(rendered, reveal, max_tokens)
        return EncodedChat(
            self.tokenizer.encode_rendered(rendered, reveal), self._reasoning(rendered, messages, options)
        )

    def _check_options(self, messages: Sequence[ChatMessage], options: ChatOptions) -> None:
        template = self._template
        if options.tools and not template.takes_tools:
            raise NotInTemplate("tools", "are not in the checkpoint's chat template")
        for at, message in enumerate(messages):
            if (message.tool_calls or message.role == "tool") and not template.takes_calls:
                field = "tool_calls" if message.tool_calls else "role"
                raise NotInTemplate(
                    f"messages[{at}].{field}",
                    "is not in the checkpoint's chat template: it has no tool calls",
                )
        if options.thinking is None or template.takes_thinking:
            return
        if self._always_reasons if options.thinking else not template.reasons:
            return  # what the checkpoint does in any case
        switch = "on" if options.thinking else "off"
        raise NotInTemplate(
            "thinking", f"cannot be {switch}: the checkpoint's chat template has no enable_thinking"
        )

    def _opens_reasoning(self) -> bool:
        """Whether the generation prompt opens the reasoning."""
        try:
            rendered = self._template.render([{"role": "user", "content": "x"}])
        except TemplateRefused:
            return False
        return _unclosed(rendered)

    def _reasoning(self, rendered: str, messages: Sequence[ChatMessage], options: ChatOptions) -> Reasoning:
        """Whether the answer begins within reasoning, or may open it."""
        if not self._template.reasons:
            return "none"
        turn = self.tokenizer.after_controls(rendered)
        if _unclosed(turn):
            return "opened"
        begun = options.continue_final and any(
            p.text.strip() for p in messages[-1].parts if isinstance(p, TextPart)
        )
        return "none" if CLOSING in turn or begun else "optional"

    def _render(
        self, messages: Sequence[ChatMessage], options: ChatOptions, rewrite: _Rewrite, nonce: str
    ) -> str:
        chat = [_turn(message, f"messages[{at}]", rewrite) for at, message in enumerate(messages)]
        tools = [_tool(tool, rewrite) for tool in described(options.tools)] or None
        if not options.continue_final:
            return self._template.render(chat, tools, options.thinking)
        mark = f"\ue000{nonce}\ue001"
        chat[-1]["content"] += f"{mark} "
        rendered = self._template.render(chat, tools, options.thinking, add_generation_prompt=False)
        before, found, after = rendered.rpartition(mark)
        if not found:
            raise TemplateRefused("the model's chat template does not show the text to continue")
        return before if after.startswith(" ") else before.rstrip()  # as transformers: the template trims

    def _check_length(self, rendered: str, reveal: dict[str, str], limit: int | None) -> None:
        least = self.tokenizer.least_tokens(self.tokenizer.texts_in(rendered, reveal)) if limit else 0
        if limit is not None and least > limit:
            raise TextTooLong(limit, least)


def _unclosed(turn: str) -> bool:
    """Whether the last reasoning of a turn is open."""
    return turn.rfind(OPENING) > turn.rfind(CLOSING)


def _markers(tokenizer: PromptTokenizer, nonce: str) -> dict[str, str]:
    """A marker for each control token."""
    return {token: f"\ue000{nonce}.{id}\ue001" for token, id in tokenizer.control.items()}


def _tool(tool: dict[str, Any], rewrite: _Rewrite) -> dict[str, Any]:
    """The description of a tool. Only its form is not the caller's."""
    return tool | {"function": {key: rewrite.value(value) for key, value in tool["function"].items()}}


def _turn(message: ChatMessage, path: str, rewrite: _Rewrite) -> dict[str, Any]:
    """A message as templates expect it."""
    turn: dict[str, Any] = {"role": message.role, "content": _content(message.parts, rewrite)}
    if message.reasoning:
        # both names that transformers gives it
        turn |= dict.fromkeys(("thinking", "reasoning_content"), rewrite.text(message.reasoning))
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "id": rewrite.text(call["id"]),
                "type": call["type"],
                "function": {key: rewrite.value(value) for key, value in call["function"].items()},
            }
            for call in called(message.tool_calls, path)
        ]
    if message.tool_call_id:
        turn["tool_call_id"] = rewrite.text(message.tool_call_id)
    return turn


def _content(parts: Sequence[Part], rewrite: _Rewrite) -> str | list[dict[str, Any]]:
    """A message's parts as templates expect them; a string if there is only text.

    Adjacent texts are joined before rewriting, because the template joins them: otherwise two halves of a
    control token would meet after the rewriting.
    """
    joined: list[dict[str, Any]] = []
    for is_text, group in groupby(parts, lambda part: isinstance(part, TextPart)):
        if is_text:
            text = "".join(part.text for part in group if isinstance(part, TextPart))
            joined.append({"type": "text", "text": rewrite.text(text)})
        else:
            joined += [{"type": "image"} for _ in group]
    if not joined:
        return ""
    only_text = len(joined) == 1 and "text" in joined[0]
    return joined[0]["text"] if only_text else joined
