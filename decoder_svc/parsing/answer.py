"""From the text of an answer to what its caller gets: reasoning, text, tool calls."""

from __future__ import annotations

from dataclasses import dataclass

from decoder_svc.engine.protocol import Reasoning
from decoder_svc.parsing.calls import ToolCallReader
from decoder_svc.parsing.reasoning import ReasoningSplitter
from decoder_svc.request import ChatRequest
from fovea.contract.tools import ToolCallDelta


@dataclass(frozen=True)
class ParsedText:
    """The next part of each."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.reasoning or self.tool_calls)


class AnswerParser:
    """`push` the text of an answer, the last with `ends`. Text without reasoning and calls passes at once."""

    def __init__(self, request: ChatRequest, reasoning: Reasoning, holds_calls: bool) -> None:
        """`holds_calls`: sampling holds every call to its form."""
        names = {tool.name for _, tool in request.tool_use.callable}
        self._splitter = ReasoningSplitter(reasoning)
        self._calls = ToolCallReader(names, holds_calls) if names else None

    @property
    def called(self) -> bool:
        """Whether the answer has tool calls, all of them whole."""
        return self._calls is not None and self._calls.complete

    def push(self, text: str, ends: bool) -> ParsedText:
        split = self._splitter.push(text)
        reasoning, text = split.reasoning, split.text
        if ends:
            rest = self._splitter.finish()
            reasoning, text = reasoning + rest.reasoning, text + rest.text
        if self._calls is None:
            return ParsedText(text, reasoning)
        called = self._calls.push(text)
        if ends:
            called.text += self._calls.finish().text
        return ParsedText(called.text, reasoning, tuple(called.calls))
