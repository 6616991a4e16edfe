"""Reads tool calls out of the text of an answer: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`.

A call that sampling holds to its form is passed on piece by piece. Any other call is withheld until it has
proved to be a call of a known tool, and then passed on whole; what is no such call stays text. Line feeds
before a call and between calls are not part of the text: the chat template writes them anew.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Literal

from decoder_svc.parsing.held import HeldText
from decoder_svc.parsing.json_end import JsonEnd
from fovea.contract.tools import ToolCallDelta

OPENING, CLOSING = "<tool_call>", "</tool_call>"
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"\\]*)"\s*,\s*"arguments"\s*:\s*(?=\{)')


@dataclass
class Called:
    """The next part of the text, and of the calls."""

    text: str = ""
    calls: list[ToolCallDelta] = field(default_factory=list)


class ToolCallReader:
    """`push` the text of an answer, then `finish`. `names` are the tools that may be called.

    With `is_held` every call has the form that the grammar gives it.
    """

    def __init__(self, names: Container[str], is_held: bool) -> None:
        self._names = names
        self._is_held = is_held
        self._held = HeldText()
        self._place: Literal["text", "call", "arguments", "end"] = "text"
        self._gap = ""  # line feeds that were dropped before the call
        self._spoken = False  # whether there was text since the last call
        self._searched = 0  # how much of a call was searched for its end
        self._end = JsonEnd()
        self._count = 0

    @property
    def complete(self) -> bool:
        """Whether there were calls, all of them whole."""
        return self._count > 0 and self._place == "text"

    def push(self, text: str) -> Called:
        self._held.add(text)
        called = Called()
        while self._advance(called):
            pass
        return called

    def finish(self) -> Called:
        """What was withheld. A call that is not whole is text, unless a part of it has passed."""
        rest = self._held.take()
        if self._place == "call":
            return Called(self._gap + OPENING + rest)
        is_text = self._place == "text" and (rest.strip("\n") or self._spoken or not self._count)
        return Called(rest if is_text else "")

    def _advance(self, called: Called) -> bool:
        """Read on; False if more text is needed."""
        if self._place == "text":
            return self._read_text(called)
        if self._place == "arguments":
            return self._read_arguments(called)
        if self._place == "end":
            return self._read_end()
        return self._begin(called) if self._is_held else self._read_call(called)

    def _read_text(self, called: Called) -> bool:
        before = self._held.cut(OPENING)
        if before is None:
            text = self._held.release(OPENING, "\n")
            self._say(text, called)
            return False
        text = before.removesuffix("\n") if before.strip("\n") or self._spoken else ""
        self._say(text, called)
        self._gap, self._searched, self._place = before[len(text) :], 0, "call"
        return True

    def _read_call(self, called: Called) -> bool:
        """Read a call up to its closing tag, unless that stands in a string."""
        at = self._held.text.find(CLOSING, self._searched)
        if at < 0:
            return False
        body = self._held.text[:at]
        call = self._parsed(body)
        if call is None and _ends_in_string(body):
            self._searched = at + len(CLOSING)
            return True
        self._place = "text"
        if call is None:  # no call: what follows the opening tag is read as text
            self._say(self._gap + OPENING, called)
            return True
        self._held.text = self._held.text[at + len(CLOSING) :]
        self._call(called, *call)
        return True

    def _begin(self, called: Called) -> bool:
        head = _HEAD.match(self._held.text)
        if head is None:
            return False
        self._held.text = self._held.text[head.end() :]
        self._call(called, head[1])
        self._place, self._end = "arguments", JsonEnd()
        return True

    def _read_arguments(self, called: Called) -> bool:
        text = self._held.take()
        end = self._end.find(text)
        if text:
            called.calls.append(ToolCallDelta(self._count - 1, arguments=text[:end]))
        if end is None:
            return False
        self._held.add(text[end:])
        self._place = "end"
        return True

    def _read_end(self) -> bool:
        if self._held.cut(CLOSING) is None:
            return False
        self._place = "text"
        return True

    def _say(self, text: str, called: Called) -> None:
        called.text += text
        self._spoken = self._spoken or bool(text)

    def _call(self, called: Called, name: str, arguments: str = "") -> None:
        called.calls.append(ToolCallDelta(self._count, f"call_{secrets.token_hex(12)}", name, arguments))
        self._count += 1
        self._spoken = False

    def _parsed(self, body: str) -> tuple[str, str] | None:
        """Name and arguments of a call of a known tool; None for anything else."""
        try:
            call = json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            return None
        if not isinstance(call, dict) or call.keys() - {"name", "arguments"}:
            return None
        name, arguments = call.get("name"), call.get("arguments", {})
        if not isinstance(name, str) or name not in self._names or not isinstance(arguments, dict):
            return None
        return name, _arguments_in(body) or json.dumps(arguments, ensure_ascii=False)


def _arguments_in(body: str) -> str:
    """The arguments as the model wrote them; empty if they do not follow the name."""
    head = _HEAD.match(body)
    if head is None:
        return ""
    return body[head.end() :][: JsonEnd().find(body[head.end() :])]


def _ends_in_string(body: str) -> bool:
    scanned = JsonEnd()
    return scanned.find(body) is None and scanned.in_string and not scanned.broken


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
