"""Tesseract as an engine: the command, run once per image, with the limits of the worker that runs it.

The command ends with the worker: the kernel kills it when the worker dies. CPU time that it takes beyond the
limit ends the worker like the worker's own.
"""

from __future__ import annotations

import csv
import ctypes
import io
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

from encoder_svc.images.decode import Pixels
from encoder_svc.reading.lines import clean_line
from fovea.contract.text import TextLine

_COMMAND = ("tesseract", "stdin", "stdout", "--psm", "3", "tsv")
_ONE_THREAD = {"OMP_THREAD_LIMIT": "1"}
_PR_SET_PDEATHSIG = 1
_WORD = "5"
"""The level of words in the table that it prints."""


class TesseractEngine:
    """Runs the command on the image as PPM, and groups its words into lines."""

    def __init__(self, cpu_s: float) -> None:
        self._cpu_s = cpu_s
        self._libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def read(self, rgb: Pixels) -> Sequence[TextLine]:
        height, width = rgb.shape[:2]
        done = subprocess.run(
            _COMMAND,
            input=b"P6 %d %d 255\n" % (width, height) + rgb.tobytes(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | _ONE_THREAD,
            preexec_fn=self._bound,
            check=False,
        )
        if done.returncode < 0:  # the worker dies as the command did
            died = -done.returncode
            os.kill(os.getpid(), signal.SIGPROF if died == signal.SIGXCPU else died)
        done.check_returncode()
        return lines_of(done.stdout.decode(errors="replace"))

    def cpu_seconds(self) -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    def _bound(self) -> None:
        """In the child, before the command starts."""
        if self._libc is not None:
            self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        whole = math.ceil(self._cpu_s)
        resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))


def lines_of(table: str) -> list[TextLine]:
    """The lines of a table of words. A line is as sure as its least sure word."""
    words: defaultdict[tuple[str, ...], list[Mapping[str, str]]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["level"] == _WORD and row["text"].strip():
            words[row["page_num"], row["block_num"], row["par_num"], row["line_num"]].append(row)
    lines = (_line(row) for row in words.values())
    return [line for line in lines if line is not None]


def _line(words: Sequence[Mapping[str, str]]) -> TextLine | None:
    xs, ys = [], []
    for word in words:
        left, top = int(word["left"]), int(word["top"])
        xs += [left, left + int(word["width"])]
        ys += [top, top + int(word["height"])]
    text = " ".join(word["text"] for word in words)
    return clean_line(text, xs, ys, min(float(word["conf"]) for word in words) / 100)
