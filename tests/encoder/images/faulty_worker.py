"""The worker, with a decoder that fails as the image's bytes say: b"LOOP", b"ALLOCATE", b"GROW" or b"SIGNAL 11".

`b"SIGNAL 9 ONCE <path>"` fails while the path does not exist, and creates it. `b"LIE <json>"` replaces values of
the facts.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from encoder_svc.images import decode, worker
from fovea.contract.rows import digest
from tests.encoder.images.files import encoded, picture

REAL = decode.decode
KEPT: list[bytearray] = []
TURNS = 4


def fail(data: bytes) -> None:
    words = data.decode(errors="replace").split(" ")
    if words[0] == "LOOP":
        while True:
            pass
    if words[0] == "ALLOCATE":
        held = [bytearray(b"\1") * (1 << 24) for _ in range(16)]  # 256 MiB, and no more without a limit
        del held
    if words[0] == "GROW":
        KEPT.append(bytearray(3 << 26))
    if words[0] == "SIGNAL":
        if "ONCE" in words:
            if Path(words[-1]).exists():
                return
            Path(words[-1]).touch()
        os.kill(os.getpid(), int(words[1]))


def faulty(data: bytes, limits: Any) -> Any:
    fail(data)
    real = REAL(data if data.startswith(b"\x89") else encoded(picture()), limits)
    facts = replace(real.facts, digest=digest(data), byte_size=len(data))
    return replace(real, facts=replace(facts, **json.loads(data[4:])) if data.startswith(b"LIE ") else facts)


if __name__ == "__main__":
    decode.decode = faulty
    worker.MAX_TURNS = TURNS
    worker.main(*sys.argv[1:])
