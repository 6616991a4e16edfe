"""Encoding an image: cold, from the store, and the tower alone, in turns.

Cold is what a caller of the encoder waits for: upload, decode, preprocess, tower, digest, and all rows over
the wire, checked. The floor is the same tower on the same patches, called directly; the difference is what
the service adds. A hit is requested a turn after its picture was encoded, when its rows have been written.
"""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bench.parts.photo import photos
from bench.turns import ms_since, turns
from encoder_svc.vision.preprocess import Patches, patches
from encoder_svc.vision.tower import Tower
from fovea.client import EncoderClient
from fovea.geometry import Geometry
from fovea.machine import pick_devices, pick_dtype
from fovea.rows import RowDtype

SIDE = 768
SERIES = 1


@dataclass
class EncodeTimes:
    """Milliseconds, a value for each turn; `put` is the upload's part of `cold`."""

    put: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    hit: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)


def measure(address: str, model: Path, seconds: float, least: int, seed: int) -> EncodeTimes:
    """Against a running encoder of `model`, with a new picture every turn."""
    tower = Tower.load(model, pick_devices("auto")[0], pick_dtype("auto", "auto"))
    geometry = Geometry.from_checkpoint(model)
    times, pictures = EncodeTimes(), photos(seed, SERIES, SIDE)
    # The tower runs on its own thread, as in the service: where OpenMP's threads wait depends on it.
    with EncoderClient(address) as client, ThreadPoolExecutor(1) as tower_thread:
        previous = _time_cold(client, next(pictures), EncodeTimes())  # not counted: connects, warms up
        for _ in turns(seconds, least):
            file = next(pictures)
            digest = _time_cold(client, file, times)
            times.hit.append(_time_encode(client, previous, "rows"))
            times.floor.append(tower_thread.submit(_time_tower, tower, to_patches(file, geometry)).result())
            previous = digest
    return times


def _time_cold(client: EncoderClient, file: bytes, times: EncodeTimes) -> str:
    begin = time.perf_counter()
    digest = client.put(file).facts.digest
    times.put.append(ms_since(begin))
    times.cold.append(times.put[-1] + _time_encode(client, digest, "encoded"))
    return digest


def _time_encode(client: EncoderClient, digest: str, source: str) -> float:
    """Raises RuntimeError where the rows have another source."""
    begin = time.perf_counter()
    rows = client.encode(digest)
    spent = ms_since(begin)
    if rows.source != source:
        raise RuntimeError(f"the rows came from {rows.source}, expected {source}")
    return spent


def _time_tower(tower: Tower, image: Patches) -> float:
    begin = time.perf_counter()
    tower.encode([image], RowDtype.BF16)
    return ms_since(begin)


def to_patches(file: bytes, geometry: Geometry) -> Patches:
    """What the encoder makes of a file."""
    return patches(np.asarray(Image.open(io.BytesIO(file)).convert("RGB")), geometry)
