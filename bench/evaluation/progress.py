"""How far a run is, on stderr: a bar where somebody watches, a line every half minute in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_S = 30.0


@contextmanager
def shown(total: int) -> Iterator[Callable[[int], None]]:
    """Yields what is told how many more are done."""
    console = Console(stderr=True)
    columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("asking", total=total, rate="")
        state = _State(total)

        def heard(count: int) -> None:
            state.add(count)
            bar.update(task, advance=count, rate=f"{state.rate:.0f}/s")
            if not console.is_terminal and state.line_is_due():
                console.print(f"asked {state.done} of {total}, {state.rate:.1f}/s", highlight=False)

        yield heard


class _State:
    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._begin = self._printed = time.monotonic()

    @property
    def rate(self) -> float:
        return self.done / max(1e-9, time.monotonic() - self._begin)

    def add(self, count: int) -> None:
        self.done += count

    def line_is_due(self) -> bool:
        if time.monotonic() - self._printed < LINE_S and self.done < self.total:
            return False
        self._printed = time.monotonic()
        return True
