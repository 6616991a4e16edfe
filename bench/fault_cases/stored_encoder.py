"""An encoder with its store in a folder; pictures whose rows are known from an encoder without a store."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.fault_cases.process import tree_rss_mib
from bench.parts.photo import photo
from bench.services import NO_ROW_STORE, ONE_THREAD, free_address
from fovea.cli.children import Child, Launch
from fovea.cli.errors import ServiceDied
from fovea.cli.readiness import is_ready
from fovea.client import EncoderClient
from fovea.client.messages import id_of
from fovea.contract.errors import FoveaError
from standin import model_dir

SIDE = 256
CALL_S = 20.0
START_S = 120.0
_POLL_S = 0.02


@dataclass(frozen=True)
class Start:
    """Until ready: seconds, and the most memory of the process with its children."""

    seconds: float
    peak_mib: float


class StoredEncoder:
    """A process that can be started again on the same folder."""

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        self.data_file = folder / "env" / "data.mdb"
        self._flags = ("--cache-dir", str(folder), "--metrics-listen", "", *ONE_THREAD, *flags)
        self._child: Child | None = None
        self.address = ""

    def start(self) -> Start:
        """Raises ServiceDied; TimeoutError if it is not ready in time."""
        self.address = free_address()
        flags = ("--model", str(model_dir()), "--listen", self.address, *self._flags)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FOVEA_")}
        launch = Launch("encoder", "encoder_svc", self.address, flags)
        self._child = Child(launch, environ, lambda name, line: None)
        began, peak = time.monotonic(), 0.0
        while not is_ready(self.address):
            self._child.check()
            if time.monotonic() - began > START_S:
                raise TimeoutError(f"the encoder is not ready after {START_S} s")
            peak = max(peak, tree_rss_mib(self._child.pid))
            time.sleep(_POLL_S)
        return Start(time.monotonic() - began, peak)

    def client(self) -> EncoderClient:
        return EncoderClient(self.address, timeout_s=CALL_S)

    @property
    def died(self) -> bool:
        try:
            if self._child is not None:
                self._child.check()
        except ServiceDied:
            return True
        return False

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.stop()

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()


@dataclass
class Tally:
    """How the calls ended. `failed` are typed errors by reason."""

    right: int = 0
    wrong: int = 0
    stored: int = 0
    hangs: int = 0
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        return self.right + self.wrong + self.hangs + sum(self.failed.values())


class Pictures:
    """Photos and the digest of the rows of each, computed one at a time without a store."""

    def __init__(self, seed: int, count: int, folder: Path) -> None:
        self._rng = random.Random(seed)
        self.files = [photo(seed * 1_000_000 + n, SIDE) for n in range(count)]
        encoder = StoredEncoder(folder, NO_ROW_STORE)
        try:
            encoder.start()
            with encoder.client() as client:
                self._rows = [self._encode(client, file)[0] for file in self.files]
        finally:
            encoder.stop()

    def ask(self, client: EncoderClient, number: int, tally: Tally) -> bool:
        """Store a picture, get its rows and count the outcome; whether they are right."""
        try:
            rows, source = self._encode(client, self.files[number])
        except FoveaError as error:
            hung = error.code.name == "DEADLINE_EXCEEDED"
            tally.hangs += hung
            if not hung:
                reason = error.reason or error.code.name
                tally.failed[reason] = tally.failed.get(reason, 0) + 1
            return False
        right = rows == self._rows[number]
        tally.right += right
        tally.wrong += not right
        tally.stored += source == "rows"
        return right

    def ask_all(self, encoder: StoredEncoder, tally: Tally) -> int:
        """Ask for each picture once; how many rows were right.

        The order is random: round after round in the same order, a cache of the last used would never hit.
        """
        numbers = self._rng.sample(range(len(self.files)), len(self.files))
        with encoder.client() as client:
            return sum(self.ask(client, number, tally) for number in numbers)

    @staticmethod
    def _encode(client: EncoderClient, file: bytes) -> tuple[str, str]:
        client.put(file)
        rows = client.encode(id_of(file))
        return rows.rows_digest, rows.source


def ask_until_it_ends(pictures: Pictures, encoder: StoredEncoder, tally: Tally) -> None:
    """A burst of calls that ends with the process."""
    with suppress(FoveaError), encoder.client() as client:
        while not encoder.died:
            for number in range(len(pictures.files)):
                if not pictures.ask(client, number, tally) and encoder.died:
                    return
