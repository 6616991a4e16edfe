"""The demo's output: plain lines, and on a terminal the streaming answer. Makes no calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.live import Live
from rich.status import Status
from rich.text import Text

from fovea.cli.output import clean, console
from fovea.cli.receipts import one_line, size
from fovea.cli.samples import SampleQuestion
from fovea.client import Answer
from fovea.contract.image import StoredImage

QUESTION_COLUMNS = 44
ANSWER_COLUMNS = 12


class View:
    """Prints the demo's progress to a console."""

    def __init__(self, out: Console | None = None) -> None:
        self._out = out or console()
        self._status: Status | None = None

    def line(self, text: str = "", style: str = "") -> None:
        self._out.print(text, style=style)

    def heading(self, text: str) -> None:
        self._out.print(f"\n{text}", style="bold")

    @contextmanager
    def loading(self) -> Iterator[Callable[[str], None]]:
        """A status line while services load; only on a terminal."""
        if not self._out.is_terminal:
            yield lambda text: None
            return
        with self._out.status("starting") as status:
            yield status.update

    def stored(self, name: str, stored: StoredImage) -> None:
        facts = stored.facts
        self.heading(f"{name}  {facts.width}x{facts.height}, {size(facts.byte_size)}, {facts.digest[:19]}...")

    @contextmanager
    def answering(self, question: str) -> Iterator[Callable[[str], None]]:
        """Show the streaming answer in a transient line; `answered` prints the final line."""
        if not self._out.is_terminal:
            yield lambda text: None
            return
        shown = _asking(question)
        with Live(shown, console=self._out, transient=True, refresh_per_second=20):

            def append(text: str) -> None:
                shown.append(clean(text))  # Live redraws it

            yield append

    def answered(self, sample_question: SampleQuestion, answer: Answer) -> None:
        correct = sample_question.right(answer.text)
        mark = "right" if correct else f"WRONG, should be {sample_question.answer}"
        line = _asking(sample_question.question)
        line.append(f"{clean(answer.text):<{ANSWER_COLUMNS}} ", style="bold")
        line.append(mark, style="green" if correct else "bold red")
        self._out.print(line)
        self._out.print(f"    {one_line(answer.receipt)}", style="dim")

    def logs(self, lines: Sequence[tuple[str, str]]) -> None:
        for name, line in lines:
            self._out.print(f"  {name} | {clean(line)}", style="dim")


def _asking(question: str) -> Text:
    """The question, padded to the same screen width in any script."""
    width = max(QUESTION_COLUMNS, cell_len(question))
    return Text(f"  {set_cell_size(question, width)} ")
