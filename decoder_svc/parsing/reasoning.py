"""Splits an answer into its reasoning, between `<think>` and `</think>`, and its text.

Line feeds around both are not part of them: the chat template writes them anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from decoder_svc.engine.protocol import Reasoning
from decoder_svc.parsing.held import HeldText

OPENING, CLOSING = "<think>", "</think>"
MOST_FEEDS = 2
"""Line feeds after the reasoning that the template writes. Further ones are the text's."""


@dataclass(frozen=True)
class Split:
    """The next part of the reasoning, and of the text after it."""

    reasoning: str = ""
    text: str = ""


class ReasoningSplitter:
    """`push` the text of an answer, then `finish`."""

    def __init__(self, reasoning: Reasoning) -> None:
        self._state = reasoning
        self._held = HeldText()
        self._begun = False  # whether the reasoning has text
        self._feeds = 0  # line feeds that may still be dropped before the text

    def push(self, text: str) -> Split:
        self._held.add(text)
        if self._state == "optional" and not self._open():
            return Split()
        reasoning = self._reason() if self._state == "opened" else ""
        return Split(reasoning, self._text() if self._state == "none" else "")

    def finish(self) -> Split:
        """What was withheld. Reasoning that is not closed is reasoning."""
        if self._state == "opened":
            return Split(reasoning=self._held.take().rstrip("\n"))
        return Split(text=self._text() if self._state == "none" else self._held.take())

    def _open(self) -> bool:
        """Whether it is known if the answer opens reasoning."""
        start = self._held.text.lstrip()
        if start.startswith(OPENING):
            self._held.take()
            self._held.add(start.removeprefix(OPENING))
            self._state = "opened"
        elif not OPENING.startswith(start):
            self._state = "none"
        return self._state != "optional"

    def _reason(self) -> str:
        if not self._begun:
            self._held.drop_feeds()
        before = self._held.cut(CLOSING)
        if before is not None:
            self._state, self._feeds = "none", MOST_FEEDS
            return before.rstrip("\n")
        reasoning = self._held.release(CLOSING, "\n")
        self._begun = self._begun or bool(reasoning)
        return reasoning

    def _text(self) -> str:
        if self._feeds:
            self._feeds -= self._held.drop_feeds(self._feeds)
            self._feeds = 0 if self._held.text else self._feeds
        return self._held.take()
