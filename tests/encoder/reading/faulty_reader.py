"""The reading worker, with an engine that does what the image's PNG says: see `marked`.

LOOP, SLEEP, ALLOCATE and SIGNAL n fail. WAIT path reads once the path exists. LIE json is sent as the lines. MISSING ends
the loading of the engine. Anything else is read as a line with that text.
"""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from encoder_svc.images import decode
from encoder_svc.reading import worker
from fovea.contract.text import TextLine
from tests.encoder.images.files import picture

MARK = "do"
REAL = decode.pixels
TOLD = [""]
NO_ENGINE = "FOVEA_TEST_NO_ENGINE"


def marked(do: str, size: tuple[int, int] = (96, 64)) -> bytes:
    """A picture that tells the engine what to do."""
    info, file = PngInfo(), io.BytesIO()
    info.add_text(MARK, do)
    Image.fromarray(picture(*size)).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def pixels(data: bytes, limits: Any) -> Any:
    with Image.open(io.BytesIO(data)) as image:
        TOLD[0] = image.info[MARK]
    return REAL(data, limits)


class FaultyEngine:
    def read(self, rgb: Any) -> Sequence[TextLine]:
        verb, _, rest = TOLD[0].partition(" ")
        if verb == "LOOP":
            while True:
                pass
        if verb == "SLEEP":
            time.sleep(3600)
        if verb == "ALLOCATE":
            held = [bytearray(b"\1") * (1 << 24) for _ in range(16)]  # 256 MiB, and no more without a limit
            del held
        if verb == "SIGNAL":
            os.kill(os.getpid(), int(rest))
        while verb == "WAIT" and not Path(rest.split()[0]).exists():
            time.sleep(0.005)
        if verb == "EMPTY":
            return []
        return [TextLine("lie" if verb == "LIE" else TOLD[0], 1, 2, 30, 14, 0.9)]

    def cpu_seconds(self) -> float:
        return time.process_time()


def packed(lines: Sequence[TextLine]) -> bytes:
    verb, _, rest = TOLD[0].partition(" ")
    return rest.encode() if verb == "LIE" else PACK(lines)


PACK = worker.pack_lines

if __name__ == "__main__":
    decode.pixels = pixels
    worker.pack_lines = packed
    worker.load_engine = lambda name, cpu_s: None if os.environ.get(NO_ENGINE) else FaultyEngine()
    worker.main(*sys.argv[1:])
