"""kill -9 at any moment loses nothing acknowledged and leaves no wrong bytes."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from encoder_svc.store.core import StoreLimits
from encoder_svc.store.store import LmdbStore
from tests.encoder.store.conftest import MIB
from tests.encoder.store.samples import ALICE, FIELDS, KIB, row_key, row_keys, rows, same

LIMITS = StoreLimits(256 * MIB, MIB)
KILLS = 10


def size_of(n: int) -> int:
    return (1 + n * 7919 % 700) * KIB


class Writer:
    """A running writer.py."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.encoder.store.writer", str(folder)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def write_until_killed(self, first: int, records: int, delay: float) -> int:
        """Kill it `delay` seconds after so many records; the first number it did not acknowledge."""
        assert self.process.stdin is not None
        print(first, file=self.process.stdin, flush=True)
        pid = self._next("pid")
        acknowledged = [self._next("stored") for _ in range(records)]
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
        acknowledged += self._rest()
        assert acknowledged == list(range(first, first + len(acknowledged)))
        return first + len(acknowledged)

    def _next(self, word: str) -> int:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert re.fullmatch(rf"{word} \d+\n", line), line  # a line of the log tells what went wrong
        return int(line.split()[1])

    def _rest(self) -> Iterator[int]:
        """What it acknowledged between the last line read and its death."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            assert re.fullmatch(r"(stored|ended) -?\d+\n", line), line
            event, number = line.split()
            if event == "ended":
                assert int(number) == -signal.SIGKILL
                return
            yield int(number)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    running = Writer(tmp_path)
    yield running
    running.process.communicate(timeout=10)


@pytest.mark.long
def test_kill_9_in_a_write_loop_loses_nothing_acknowledged(writer: Writer, tmp_path: Path) -> None:
    rng = random.Random(0)
    following = 0
    for _ in range(KILLS):
        following = writer.write_until_killed(following, rng.randint(1, 8), rng.random() / 50)
        with LmdbStore(tmp_path, LIMITS) as store:
            assert not store.stats().quarantined
            for n in range(following):
                assert same(store.get(row_key(n), FIELDS), rows(n, size_of(n))), n
            # The commit in progress may have completed, but never in part.
            pending = store.get(row_key(following), FIELDS)
            assert pending is None or same(pending, rows(following, size_of(following)))
            stats = store.stats().total.rows
            assert stats.failed_checks == 0
            assert stats.records == len(row_keys(store, ALICE)) == following + (pending is not None)
