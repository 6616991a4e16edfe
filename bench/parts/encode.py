"""Encoding an image: cold, from the store, and the tower alone, in turns.

Cold is what a caller of the encoder waits for: upload, decode, preprocess, tower, digest, and all rows over
the wire, checked. The floor is the same tower on the same patches, called directly, so the difference is what
the service adds. A hit is asked for a turn after its picture was encoded, when its rows have been written.
"""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bench.parts.photo import photo
from bench.turns import ms_since, turns
from encoder_svc.vision.preprocess import Patches, patches
from encoder_svc.vision.tower import Tower
from fovea.client import EncoderClient
from fovea.contract.rows import RowDtype
from fovea.geometry import Geometry
from fovea.machine import pick_devices, pick_dtype

SIDE = 768


@dataclass
class EncodeTimes:
    """Milliseconds, a value a turn; `put` is the upload's part of `cold`."""

    put: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    hit: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)


def measure(address: str, model: Path, seconds: float, least: int, seed: int) -> EncodeTimes:
    """Against a running encoder of `model`, with a new picture every turn."""
    tower = Tower.load(model, pick_devices("auto")[0], pick_dtype("auto", "auto"))
    geometry = Geometry.from_checkpoint(model)
    times = EncodeTimes()
    # On a thread of its own, as in the service: where OpenMP's threads wait depends on it.
    with EncoderClient(address) as client, ThreadPoolExecutor(1) as own_thread:
        previous = _cold(client, _picture(seed, -1), EncodeTimes())  # not counted: connects, warms up
        for turn in turns(seconds, least):
            file = _picture(seed, turn)
            digest = _cold(client, file, times)
            times.hit.append(_hit(client, previous))
            times.floor.append(own_thread.submit(_floor, tower, _patches(file, geometry)).result())
            previous = digest
    return times


def _picture(seed: int, turn: int) -> bytes:
    return photo(1_000_003 * (seed + 1) + turn, SIDE)


def _cold(client: EncoderClient, file: bytes, times: EncodeTimes) -> str:
    begin = time.perf_counter()
    digest = client.put(file).facts.digest
    times.put.append(ms_since(begin))
    rows = client.encode(digest)
    times.cold.append(ms_since(begin))
    if rows.source != "encoded":
        raise RuntimeError(f"a picture that was never seen came from {rows.source}")
    return digest


def _hit(client: EncoderClient, digest: str) -> float:
    begin = time.perf_counter()
    rows = client.encode(digest)
    spent = ms_since(begin)
    if rows.source != "rows":
        raise RuntimeError(f"a picture that was encoded before came from {rows.source}")
    return spent


def _floor(tower: Tower, image: Patches) -> float:
    begin = time.perf_counter()
    tower.encode([image], RowDtype.BF16)
    return ms_since(begin)


def _patches(file: bytes, geometry: Geometry) -> Patches:
    return patches(np.asarray(Image.open(io.BytesIO(file)).convert("RGB")), geometry)
