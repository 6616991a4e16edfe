"""Assembles the events of a stream into an Answer. Independent of their source."""

from __future__ import annotations

from collections.abc import Callable

from fovea.contract.answer import Answer, Event, Finished, Started, Text, joined
from fovea.contract.errors import AnswerIncomplete
from fovea.contract.tools import whole_calls


class AnswerBuilder:
    """`take` every event, then call `answer`. `on_text` is called with each delta as it arrives."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._pieces: list[Text] = []
        self._started: Started | None = None
        self._finished: Finished | None = None

    @property
    def is_without_text(self) -> bool:
        """Whether the answer has started, and no part of it has arrived."""
        return self._started is not None and not self._pieces

    def take(self, event: Event) -> None:
        if isinstance(event, Started):
            self._started = event
        elif isinstance(event, Text):
            self._pieces.append(event)
            self._on_text(event.text)
        else:
            self._finished = event

    def answer(self) -> Answer:
        """Raises AnswerIncomplete if the first or the last event is missing."""
        started, finished = self._started, self._finished
        if started is None or finished is None:
            raise AnswerIncomplete("the answer ended without its closing message")
        text = joined(self._pieces)
        return Answer(
            **vars(text) | {"tool_calls": whole_calls(text.tool_calls)},
            finish_reason=finished.finish_reason,
            matched_stop=finished.matched_stop,
            model=started.model,
            request_id=started.request_id,
            receipt=finished.receipt,
        )
