"""Finds the end of a JSON object or array in text that arrives in pieces. Does not validate it."""

from __future__ import annotations


class JsonEnd:
    """`in_string`: the text so far ends within a string. `broken`: a string has a line feed: no JSON."""

    def __init__(self) -> None:
        self.in_string = False
        self.broken = False
        self._escaped = False
        self._depth = 0

    def find(self, text: str) -> int | None:
        """The end of the value in this piece; None if it goes on."""
        for at, char in enumerate(text):
            if self.in_string:
                self._step_in_string(char)
            elif char == '"':
                self.in_string = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if not self._depth:
                    return at + 1
        return None

    def _step_in_string(self, char: str) -> None:
        if self._escaped:
            self._escaped = False
        elif char == "\\":
            self._escaped = True
        elif char == '"':
            self.in_string = False
        elif char == "\n":
            self.broken = True
