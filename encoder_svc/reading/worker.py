"""A worker that reads the text of untrusted files, one at a time, in a process that may be killed.

Runs as `python -m encoder_svc.reading.worker`, which loads the engine and forks the workers. All of them have
the lowest priority, so that they only take CPU time that the tower and the decoding of images leave.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from encoder_svc.images import decode
from encoder_svc.images.limits import ImageLimits
from encoder_svc.images.replies import refusal
from encoder_svc.images.worker import Worker
from encoder_svc.reading.engine import Engine
from encoder_svc.reading.replies import pack_lines
from fovea.contract.errors import FoveaError
from fovea.contract.text import MAX_LINES, ImageText
from fovea.nursery import frames
from fovea.nursery.limits import ChildLimits
from fovea.nursery.server import Nursery
from fovea.server.allocator import keep_freed_memory

NICENESS = 19


@dataclass(frozen=True)
class ReadingWorker(Worker):
    """Serves the images that arrive on a socket. `engine` is None if it cannot be loaded."""

    engine: Engine | None = field(kw_only=True)
    max_bytes: int = field(kw_only=True)

    def _reply(self, task: str, data: bytes) -> tuple[frames.Header, memoryview]:
        nothing = memoryview(b"")
        if self.engine is None:
            return {"missing": True}, nothing
        before = self.engine.cpu_seconds()
        try:
            lines = self.engine.read(decode.pixels(data, self.limits))
        except FoveaError as error:
            return refusal(error), nothing
        text = ImageText(tuple(lines), "", "")
        if text.byte_count > self.max_bytes or len(text.lines) > MAX_LINES:
            return {"too_long": True}, nothing
        cpu_ms = 1000 * (self.engine.cpu_seconds() - before)
        return {"cpu_ms": cpu_ms}, memoryview(pack_lines(text.lines))


def load_engine(name: str, cpu_s: float) -> Engine | None:
    """The engine, warm; None if a library of it is missing or does not load."""
    try:
        if name == "tesseract":
            from encoder_svc.reading.tesseract import TesseractEngine

            return TesseractEngine(cpu_s)
        from encoder_svc.reading.rapid import RapidEngine

        engine = RapidEngine()
    except (ImportError, OSError) as error:
        print(f"the text reader {name} cannot be loaded: {type(error).__name__}", file=sys.stderr)
        return None
    engine.read(_sample())
    return engine


def _sample() -> decode.Pixels:
    picture = Image.new("RGB", (256, 64), "white")
    ImageDraw.Draw(picture).text((8, 20), "warm 123", "black")
    return np.array(picture)


def main(control_fd: str, settings: str, limits: str) -> None:
    os.nice(NICENESS)
    chosen = json.loads(settings)
    images = ImageLimits(**{**chosen["images"], "formats": tuple(chosen["images"]["formats"])})
    child = ChildLimits(**json.loads(limits))
    keep_freed_memory()
    engine = load_engine(chosen["reader"], child.cpu_s)
    worker = ReadingWorker(images, child, engine=engine, max_bytes=chosen["max_bytes"])
    Nursery(socket.socket(fileno=int(control_fd)), worker.serve, child).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
