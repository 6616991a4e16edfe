"""For each number on stdin: a process of its own that writes records from there on until it is killed.

Says its pid, each number once it is stored, and at the end how the process died. Processes are forked before
any store is open, because starting a fresh interpreter for each kill would take most of the test's time.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from pathlib import Path

from encoder_svc.store.store import LmdbStore
from tests.encoder.store.samples import FIELDS, row_key, rows
from tests.encoder.store.test_crash import LIMITS, size_of


def say(event: str, number: int) -> None:
    """A line in one write, because `print` writes in parts and a kill between them leaves half of a line."""
    os.write(1, f"{event} {number}\n".encode())


def write_for_ever(folder: Path, first: int) -> None:
    say("pid", os.getpid())
    store = LmdbStore(folder, LIMITS)
    for n in count(first):
        if not store.put(row_key(n), FIELDS, rows(n, size_of(n))).stored:
            os._exit(1)
        say("stored", n)


def main(folder: Path) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            write_for_ever(folder, int(line))
        say("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
