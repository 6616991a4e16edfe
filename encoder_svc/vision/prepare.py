"""From the bytes of a stored file to patches: decode, then preprocess, both off the event loop.

Times each stage. It knows no queue: `batcher.py` decides how many run ahead of the tower.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder_svc.images.decoder import Decoder
from encoder_svc.vision.preprocess import Patches, patches, places
from fovea.geometry import Geometry
from fovea.plan import RowPlan


@dataclass(frozen=True)
class Prepared:
    """What the tower needs of one image, and what it took to make it."""

    patches: Patches
    decode_ms: float
    preprocess_ms: float


class Preparer:
    """Preprocesses on `threads` threads; where decoding runs is the decoder's affair."""

    def __init__(self, decoder: Decoder, geometry: Geometry, threads: int = 2) -> None:
        self._decoder = decoder
        self._geometry = geometry
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="preprocess")

    async def prepare(self, data: bytes, plan: RowPlan) -> Prepared:
        """The patches of the file `data`, resized as planned under `max_pixels`."""
        started = time.perf_counter()
        picture = await self._decoder.decode(data)
        decoded = time.perf_counter()
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(
            self._pool, patches, picture.rgb, self._geometry, plan.max_pixels, plan.flat_tolerance
        )
        ended = time.perf_counter()
        return Prepared(made, 1e3 * (decoded - started), 1e3 * (ended - decoded))

    async def places(self, data: bytes, plan: RowPlan) -> NDArray[np.int32] | None:
        """The places that `prepare` keeps, without patches; None where that is all of them."""
        picture = await self._decoder.decode(data)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool, places, picture.rgb, self._geometry, plan.max_pixels, plan.flat_tolerance
        )

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
