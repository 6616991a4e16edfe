"""Reads the text of images in worker processes. For a single event loop."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from encoder_svc.errors import ReadingUnavailable
from encoder_svc.images.limits import ImageLimits
from encoder_svc.images.pool import WorkerPool
from encoder_svc.images.refused import Deaths, RefusedImages
from encoder_svc.images.turns import WorkerTurns
from encoder_svc.reading.engine import ReaderIdentity
from encoder_svc.reading.replies import TextReply
from encoder_svc.store.keys import UploadKey
from fovea.contract.errors import TextReaderCrashed, TextTooCostly
from fovea.contract.text import ImageText
from fovea.nursery.limits import ChildLimits
from fovea.nursery.process import NurseryProcess

WORKER = "encoder_svc.reading.worker"
_DEATHS = Deaths(lambda what, limit, deaths: TextTooCostly(what, limit), TextReaderCrashed)


@dataclass(frozen=True)
class ReaderLimits:
    """What reading may take: bytes of text of an image, images at a time, images that wait."""

    max_bytes: int = 64 * 1024
    workers: int = 1
    max_queue: int = 32


class TextReader(WorkerPool):
    """Runs up to `limits.workers` workers. Loads nothing before the first image."""

    def __init__(
        self,
        identity: ReaderIdentity,
        images: ImageLimits,
        limits: ReaderLimits,
        child: ChildLimits,
        module: str = WORKER,
    ) -> None:
        settings = {"reader": identity.name, "max_bytes": limits.max_bytes, "images": asdict(images)}
        nursery = NurseryProcess(module, settings, child)
        # The queue of `Texts` bounds each tenant already.
        turns = WorkerTurns(limits.workers, several_tenants=False)
        super().__init__(nursery, turns, RefusedImages(child, deaths=_DEATHS), ReadingUnavailable)
        self.identity = identity
        self.limits = limits

    async def read(self, key: UploadKey, data: bytes) -> ImageText:
        """The text, maybe without lines.

        Raises TextTooCostly, TextReaderCrashed, TextReaderMissing, ReadingUnavailable, and what decoding
        raises.
        """
        return await self.run(key, data, TextReply(self.identity, self.limits.max_bytes))
