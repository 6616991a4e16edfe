"""From the bytes of a stored file to patches: decode, then preprocess, both off the event loop.

Times each stage. It knows no queue: `batcher.py` decides how many run ahead of the tower.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from encoder_svc.images.decoder import Decoder
from encoder_svc.vision.preprocess import Patches, patches, places
from fovea.contract.plan import EncodePlan
from fovea.geometry import Geometry

Made = TypeVar("Made")


@dataclass(frozen=True)
class PreparedImage:
    """What the tower needs of one image, and what it took to make it."""

    patches: Patches
    decode_ms: float
    preprocess_ms: float


class ImagePreparer:
    """Preprocesses on `threads` threads; where decoding runs is the decoder's affair."""

    def __init__(self, decoder: Decoder, geometry: Geometry, threads: int = 2) -> None:
        self._decoder = decoder
        self._geometry = geometry
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="preprocess")

    async def prepare(self, data: bytes, plan: EncodePlan, uniform: bool = False) -> PreparedImage:
        """The patches of the file `data`, resized as planned and without the flat cells that `plan` drops.

        With `uniform` it is told which of those that stay have one colour.
        """
        started = time.perf_counter()
        rgb = await self._decoder.pixels(data)
        decoded = time.perf_counter()
        made = await self._on_thread(
            patches, rgb, self._geometry, plan.max_pixels, plan.flat_tolerance, uniform
        )
        ended = time.perf_counter()
        return PreparedImage(made, 1e3 * (decoded - started), 1e3 * (ended - decoded))

    async def places(self, data: bytes, plan: EncodePlan) -> NDArray[np.int32] | None:
        """Which cells `prepare` would keep, None for all, without making patches of them."""
        if plan.flat_tolerance is None:
            return None
        rgb = await self._decoder.pixels(data)
        return await self._on_thread(places, rgb, self._geometry, plan.max_pixels, plan.flat_tolerance)

    async def _on_thread(self, work: Callable[..., Made], *arguments: Any) -> Made:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
