"""The reader of PDFs, which loops, allocates or dies as the words behind the signature say."""

from __future__ import annotations

import os
import sys

from fovea import pdf_reader
from fovea.nursery.alone import run_alone


class Faulty(pdf_reader.Reader):
    def __init__(self, data: bytes) -> None:
        words = data.decode().split()
        held: list[bytes] = []
        while words[1] == "LOOP":
            pass
        while words[1] == "ALLOCATE":
            held.append(b"\1" * (1 << 24))
        os.kill(os.getpid(), int(words[1]))


if __name__ == "__main__":
    pdf_reader.Reader = Faulty
    run_alone(pdf_reader.serve, *sys.argv[1:])
