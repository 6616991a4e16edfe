"""Decodes images in worker processes. For a single event loop."""

from __future__ import annotations

from dataclasses import asdict

from encoder_svc.errors import DecodingUnavailable
from encoder_svc.gate.gate import GateSettings
from encoder_svc.images.decode import Pixels
from encoder_svc.images.limits import ImageLimits
from encoder_svc.images.pool import WorkerPool
from encoder_svc.images.refused import RefusedImages
from encoder_svc.images.replies import FactsReply, PixelsReply
from encoder_svc.images.turns import WorkerTurns
from encoder_svc.store.keys import UploadKey
from fovea.contract.image import ImageFacts
from fovea.nursery.limits import ChildLimits
from fovea.nursery.process import NurseryProcess

WORKER = "encoder_svc.images.worker"


class Decoder(WorkerPool):
    """Runs up to `workers` workers. Callers beyond that wait for their tenant's turn. Without `gate`, rules
    decide kinds.
    """

    def __init__(
        self,
        limits: ImageLimits,
        child: ChildLimits,
        workers: int = 2,
        module: str = WORKER,
        gate: GateSettings | None = None,
        several_tenants: bool = False,
    ) -> None:
        settings = {"images": asdict(limits), "gate": asdict(gate) if gate else None}
        nursery = NurseryProcess(module, settings, child)
        turns = WorkerTurns(workers, several_tenants)
        super().__init__(nursery, turns, RefusedImages(child), DecodingUnavailable)
        self._limits = limits
        nursery.start()

    async def facts(self, key: UploadKey, data: bytes | memoryview) -> ImageFacts:
        """Decode the image completely and measure it.

        Raises a subclass of ImageInvalid, AspectTooExtreme, or DecodingUnavailable.
        """
        return await self.run(key, data, FactsReply(f"sha256:{key.image.hex()}", len(data), self._limits))

    async def pixels(self, key: UploadKey, data: bytes | memoryview) -> Pixels:
        """The pixels of an image whose facts are known. Raises like `facts` if it is damaged since."""
        return await self.run(key, data, PixelsReply(self._limits))
