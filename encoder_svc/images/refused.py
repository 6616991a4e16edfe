"""Images that have ended workers. An image that ended two is refused without a third."""

from __future__ import annotations

import signal
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from encoder_svc.store.keys import UploadKey
from fovea.contract.errors import FoveaError, ImageCrashesDecoder, ImageTooCostly
from fovea.nursery.limits import ChildLimits

MAX_DEATHS = 2
MAX_IMAGES = 4096
EXPIRY_S = 600.0

LIMITED = (signal.SIGPROF, signal.SIGABRT)
"""The deaths of a worker that needs more than its time or memory. It would do so again."""


@dataclass(frozen=True)
class Deaths:
    """Errors of an image that ended workers: by a limit (name, value, and the deaths), or otherwise."""

    costly: Callable[[str, float, int], FoveaError] = ImageTooCostly
    crashes: Callable[[int], FoveaError] = ImageCrashesDecoder


@dataclass
class _Record:
    deaths: int
    status: int
    expires: float


class RefusedImages:
    """Counts the deaths of an image's workers. A tenant's images tell nothing to other tenants."""

    def __init__(
        self,
        limits: ChildLimits,
        clock: Callable[[], float] = time.monotonic,
        deaths: Deaths = Deaths(),
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._deaths = deaths
        self._records: OrderedDict[UploadKey, _Record] = OrderedDict()  # the first expires first

    def check(self, key: UploadKey) -> None:
        """Raises the error of an image that is refused."""
        record = self._records.get(key)
        if record is not None and record.expires < self._clock():
            del self._records[key]
        elif record is not None and record.deaths >= MAX_DEATHS:
            raise self.error(key)

    def record(self, key: UploadKey, status: int) -> None:
        """A worker died of `status` over this image."""
        earlier = self._records.pop(key, None)
        deaths = 1 + (earlier.deaths if earlier and earlier.expires >= self._clock() else 0)
        self._records[key] = _Record(deaths, status, self._clock() + EXPIRY_S)
        if len(self._records) > MAX_IMAGES:
            self._records.popitem(last=False)

    def error(self, key: UploadKey) -> FoveaError:
        """Why the last worker of this image died, for its caller."""
        record = self._records[key]
        if record.status == signal.SIGPROF:
            return self._deaths.costly("seconds of CPU", self._limits.cpu_s, record.deaths)
        if record.status == signal.SIGABRT:
            return self._deaths.costly("bytes of memory", self._limits.memory_bytes, record.deaths)
        return self._deaths.crashes(record.deaths)
