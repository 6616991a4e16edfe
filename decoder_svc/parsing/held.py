"""Text that is withheld while it may begin what a parser looks for."""

from __future__ import annotations


class HeldText:
    def __init__(self) -> None:
        self.text = ""

    def add(self, text: str) -> None:
        self.text += text

    def take(self) -> str:
        """All of it."""
        text, self.text = self.text, ""
        return text

    def cut(self, mark: str) -> str | None:
        """The text before the first `mark`, which is dropped. None if there is no mark."""
        before, found, after = self.text.partition(mark)
        if not found:
            return None
        self.text = after
        return before

    def release(self, mark: str, feeds: str = "") -> str:
        """The text that precedes no part of `mark`, and no run of `feeds` before it."""
        keep = next((n for n in range(len(mark) - 1, 0, -1) if self.text.endswith(mark[:n])), 0)
        end = len(self.text[: len(self.text) - keep].rstrip(feeds)) if feeds else len(self.text) - keep
        text, self.text = self.text[:end], self.text[end:]
        return text

    def drop_feeds(self, most: int | None = None) -> int:
        """Drop leading line feeds; how many there were."""
        feeds = len(self.text) - len(self.text.lstrip("\n"))
        count = feeds if most is None else min(feeds, most)
        self.text = self.text[count:]
        return count
