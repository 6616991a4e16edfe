"""From the bytes of a stored file to patches: decode, then preprocess, both off the event loop.

Times each stage. `batcher.py` decides how many images are prepared ahead of the tower.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from encoder_svc.images.decoder import Decoder
from encoder_svc.store.keys import UploadKey
from encoder_svc.vision.preprocess import Patches, kept_indices, patches
from fovea.contract.plan import EncodePlan
from fovea.contract.row_stream import GridIndices
from fovea.geometry import Geometry


@dataclass(frozen=True)
class PreparedImage:
    """The tower's input for an image, and the time it took."""

    patches: Patches
    decode_ms: float
    preprocess_ms: float


class ImagePreparer:
    """Preprocesses on `threads` threads. The decoder decides where decoding runs."""

    def __init__(self, decoder: Decoder, geometry: Geometry, threads: int = 2) -> None:
        self._decoder = decoder
        self._geometry = geometry
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="preprocess")

    async def prepare(
        self, key: UploadKey, data: bytes, plan: EncodePlan, uniform: bool = False
    ) -> PreparedImage:
        """The patches of the file `data`, resized as planned, without the uniform cells that `plan` drops.
        `uniform` also reports which of the remaining cells are uniform.
        """
        started = time.perf_counter()
        rgb = await self._decoder.pixels(key, data)
        decoded = time.perf_counter()
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(
            self._pool, patches, rgb, self._geometry, plan.max_pixels, plan.flat_tolerance, uniform
        )
        ended = time.perf_counter()
        return PreparedImage(prepared, 1e3 * (decoded - started), 1e3 * (ended - decoded))

    async def kept_indices(self, key: UploadKey, data: bytes, plan: EncodePlan) -> GridIndices | None:
        """`Patches.kept` of what `prepare` would return, without building patches."""
        if plan.flat_tolerance is None:
            return None
        rgb = await self._decoder.pixels(key, data)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._pool, kept_indices, rgb, self._geometry, plan.max_pixels, plan.flat_tolerance
        )

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
