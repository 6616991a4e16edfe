"""An LMDB environment: checked before opening, a single writer, no transaction longer than a call.

Sync mode, measured on a virtual disk (median of a commit, three modes): the default (data and meta page
flushed) takes 8 ms for 256 KiB and 27 to 48 ms for 16 MiB; `metasync=False` 4 ms and 24 ms; `sync=False` 0.05
ms and 7 to 14 ms. We use `metasync=False`. The data of a commit reach the disk before the meta page that
points to them, so a power cut may undo the last commit but never leaves half of it. `sync=False` would let
the disk reorder them and break the tree itself, which no check of ours could catch. A killed process loses
nothing in any mode. Never `writemap`: a full disk would kill the process with SIGBUS.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count

import lmdb
import structlog

from encoder_svc.store.audit import audit
from encoder_svc.store.datafile import missing_bytes
from encoder_svc.store.directory import StoreDirectory
from encoder_svc.store.guard import Gate
from encoder_svc.store.inspection import find_damage
from encoder_svc.store.partition import Partition
from encoder_svc.store.tables import ReadTxn, WriteTxn
from fovea.contract.errors import StoreFailed

SCHEMA = b"1"

_MAX_DATABASES = 16
# A slot per concurrently reading thread, with spare slots for dead readers.
_MAX_READERS = 256
# LMDB's errors for inconsistent pages, which require another environment.
_BROKEN = (lmdb.CorruptedError, lmdb.PageNotFoundError, lmdb.PanicError)
_NOT_OURS = (*_BROKEN, lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.IncompatibleError)

_log = structlog.get_logger(__name__)


class Environment:
    """Opens the environment in `directory`, or quarantines it and starts empty; then `quarantined` is true.

    The file is checked before LMDB opens it, because LMDB trusts its file: see `inspection` and `audit`.
    Damage that appears later also quarantines the environment, at runtime. `bounds` has the name and the
    bytes of each partition.
    """

    def __init__(self, directory: StoreDirectory, map_bytes: int, bounds: Mapping[str, int]) -> None:
        self.quarantined = False
        self.partitions: Mapping[str, Partition] = {}
        self._directory = directory
        self._map_bytes = map_bytes
        self._bounds = bounds
        self._gate = Gate()
        self._writer = threading.Lock()
        self._ticks = count()
        # The environment in which a transaction met damaged pages; None once replaced.
        self._broken: lmdb.Environment | None = None
        self.lmdb = self._open()
        self.check_readers()

    @contextmanager
    def read(self) -> Iterator[ReadTxn]:
        """A snapshot. Values are views that must not outlive it. Raises lmdb.Error if unavailable."""
        with self._gate.enter(), self._track_damage(), self.lmdb.begin(buffers=True) as txn:
            yield txn

    @contextmanager
    def write(self) -> Iterator[WriteTxn]:
        """The only write transaction, committed at the end. Raises lmdb.Error if that fails."""
        # LMDB's own mutex belongs to a thread and stays locked when the thread dies, so ours comes first.
        with self._gate.enter(), self._track_damage(), self._writer, self.lmdb.begin(write=True) as txn:
            yield txn

    def settle(self) -> None:
        """Commit a tiny change, so that the next commit may reuse pages freed by the last."""
        with self.write() as txn:
            txn.put(b"ticks", str(next(self._ticks)).encode())

    def report(self, error: lmdb.Error, doing: str) -> None:
        """Log a failure, outside of any transaction. After damage, continue with an empty environment."""
        _log.warning("store_error", doing=doing, error=type(error).__name__, detail=str(error))
        if isinstance(error, _BROKEN):
            self._directory.mark_suspect()
            self._replace()

    def check_readers(self) -> int:
        """Free the slots of dead readers, which would pin freed pages for ever."""
        with self._gate.enter():
            return int(self.lmdb.reader_check())

    def check_process(self) -> None:
        self._gate.check_process()

    @property
    def file_bytes(self) -> int:
        return self._directory.data_file.stat().st_size

    def close(self) -> None:
        """Wait for running transactions, then close."""
        self._gate.shut()
        self.lmdb.close()

    @contextmanager
    def _track_damage(self) -> Iterator[None]:
        """Remember the environment in which damage occurred: a late report must not replace its successor."""
        env = self.lmdb
        try:
            yield
        except _BROKEN:
            self._broken = env
            raise

    def _replace(self) -> None:
        """Quarantine the damaged environment once no transaction runs, and open an empty environment."""
        with self._gate.alone():
            if self._broken is not self.lmdb:
                return
            self._broken = None
            self.lmdb.close()
            self._quarantine("LMDB reported damaged pages")
            # If the disk refuses, the environment stays closed: misses and skipped puts until a restart.
            with suppress(StoreFailed):
                self.lmdb = self._open_empty()

    def _open(self) -> lmdb.Environment:
        damage = self._known_damage()
        if damage is None:
            try:
                return self._open_checked()
            except _NOT_OURS as error:
                damage = f"{type(error).__name__}: {error}"
        self._quarantine(damage)
        return self._open_empty()

    def _known_damage(self) -> str | None:
        """Damage that is evident without opening the environment."""
        odd = self._directory.oddity()
        if odd is not None:
            return odd
        if self._directory.is_suspect:
            return "LMDB reported damaged pages"
        if self._directory.crashed_inside:
            return "the last process crashed inside the store"
        missing = missing_bytes(self._directory.data_file)
        if missing:
            return f"data file is {missing} bytes short"
        return find_damage(self._directory.data_file)

    def _open_empty(self) -> lmdb.Environment:
        """Open after a quarantine. If the disk is too full, delete the quarantined environment first."""
        try:
            return self._open_checked()
        except StoreFailed:
            self._directory.forget_set_aside()
            return self._open_checked()

    def _open_checked(self) -> lmdb.Environment:
        """Raises _NOT_OURS errors if the environment is unusable, StoreFailed if the disk refuses."""
        try:
            env = self._open_lmdb()
            try:
                self._prepare(env)
            except lmdb.Error:
                env.close()
                raise
        except _NOT_OURS:
            raise
        except lmdb.Error as error:
            raise StoreFailed(
                f"LMDB cannot open the store: {error}", directory=self._directory.path
            ) from error
        return env

    def _prepare(self, env: lmdb.Environment) -> None:
        """Create missing partitions and audit them."""
        with env.begin(write=True) as txn:
            if not txn.stat()["entries"]:
                txn.put(b"schema", SCHEMA)
            elif txn.get(b"schema") != SCHEMA:
                raise lmdb.VersionMismatchError("another schema of ours")
            partitions = {name: Partition(env, txn, name, bound) for name, bound in self._bounds.items()}
        with env.begin(buffers=True) as txn:
            for partition in partitions.values():
                audit(partition, txn)
        self.partitions = partitions

    def _open_lmdb(self) -> lmdb.Environment:
        return lmdb.open(
            str(self._directory.make_env()),
            map_size=self._map_bytes,
            mode=0o600,
            metasync=False,
            max_dbs=_MAX_DATABASES,
            max_readers=_MAX_READERS,
        )

    def _quarantine(self, reason: str) -> None:
        self._directory.quarantine(reason)
        self.quarantined = True
