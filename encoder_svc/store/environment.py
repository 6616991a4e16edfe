"""The LMDB environment of a store: checked, a single writer, no transaction longer than a call.

LMDB trusts its file, and a damaged page may make it loop, crash or fail every write. So the file is checked
before it is opened and again while it serves, and damage that a transaction meets replaces the environment by
an empty one. `opening` has the options of LMDB, `inspection` the check, `compaction` the rewriting.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count

import lmdb
import structlog

from encoder_svc.store.amounts import Bounds
from encoder_svc.store.compaction import copy_changes
from encoder_svc.store.datafile import LengthCheck, missing_bytes
from encoder_svc.store.directory import StoreDirectory
from encoder_svc.store.erasure import ErasureState
from encoder_svc.store.guard import Gate
from encoder_svc.store.inspection import Inspection
from encoder_svc.store.opening import Partitions, open_lmdb, open_partitions
from encoder_svc.store.tables import ReadTxn, WriteTxn
from fovea.contract.errors import StoreFailed
from fovea.logs import Repeats

# A lack of room, memory or slots. Every other error of a running environment means inconsistent pages.
_ORDINARY = (
    lmdb.MapFullError,
    lmdb.TxnFullError,
    lmdb.DiskError,
    lmdb.MemoryError,
    lmdb.ReadersFullError,
)
_NOT_OURS = (
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
    lmdb.InvalidError,
    lmdb.VersionMismatchError,
    lmdb.IncompatibleError,
)
# Copied while others read and write, until the rest is small enough to copy while they wait.
_FEW_CHANGES = 64
_MAX_ROUNDS = 8
_COMPACTION_SLACK = 1.1
_BACKGROUND_NICENESS = 19

_log = structlog.get_logger(__name__)


class Environment:
    """Opens the environment in `directory`, or quarantines it and starts empty; then `quarantined` is true.

    `bounds` has the name and the bounds of each partition.
    """

    def __init__(self, directory: StoreDirectory, map_bytes: int, bounds: Mapping[str, Bounds]) -> None:
        self.quarantined = False
        self.partitions: Partitions = {}
        self._directory = directory
        self._map_bytes = map_bytes
        self._bounds = bounds
        self._gate = Gate()
        self._writer = threading.Lock()
        self._ticks = count()
        self._inspection = Inspection()
        self._warnings = Repeats()
        self._length = LengthCheck(directory.data_file)
        # The environment in which a transaction met damaged pages; None once replaced.
        self._broken: lmdb.Environment | None = None
        directory.forget_next_env()
        self.erasure = ErasureState(directory, holds_old_bytes=directory.data_file.exists())
        self.lmdb = self._open()
        self.check_readers()

    @contextmanager
    def read(self) -> Iterator[ReadTxn]:
        """A snapshot. Values are views that must not outlive it. Raises lmdb.Error if unavailable."""
        with self._gate.enter(), self._track_damage():
            self._length.check()
            with self.lmdb.begin(buffers=True) as txn:
                yield txn

    @contextmanager
    def write(self) -> Iterator[WriteTxn]:
        """The only write transaction, committed at the end. Raises lmdb.Error if that fails."""
        # LMDB's own mutex belongs to a thread and stays locked when the thread dies, so ours comes first.
        with self._gate.enter(), self._track_damage(), self._writer:
            self._length.check()
            with self.lmdb.begin(write=True) as txn:
                yield txn

    def settle(self) -> None:
        """Commit a tiny change, so that the next commit may reuse pages freed by the last."""
        with self.write() as txn:
            txn.put(b"ticks", str(next(self._ticks)).encode())

    def report(self, error: lmdb.Error, doing: str) -> None:
        """Log a failure, outside of any transaction. After damage, continue with an empty environment."""
        if self._warnings.passes(doing, type(error).__name__):
            _log.warning("store_error", doing=doing, error=type(error).__name__, detail=str(error))
        if _is_damage(error):
            with suppress(OSError):
                self._directory.mark_suspect()
            self._replace(str(error))

    def check_readers(self) -> None:
        """Free the slots of dead readers, which would pin freed pages for ever."""
        with self._gate.enter():
            self.lmdb.reader_check()

    def check_pages(self) -> None:
        """Check the file in a child process while others use it; damage replaces the environment.

        A commit in the meantime looks like damage, so a finding must repeat itself while writers wait. A
        snapshot would block nobody, but pin all freed pages and so fill the map.
        """
        find = partial(self._inspection.find_damage, self._directory.data_file, serving=True)
        if find(niceness=_BACKGROUND_NICENESS) is None:
            return
        try:
            with self._gate.enter(), self._track_damage(), self._writer:
                damage = find()
                if damage is not None:
                    raise lmdb.CorruptedError(damage)
        except lmdb.Error as error:
            self.report(error, "check")

    def reopen_if_closed(self) -> None:
        """Try again to open an empty environment if the disk refused it after damage."""
        if not self._is_closed:
            return
        with self._gate.alone():
            if self._is_closed:
                self._replace_closed()

    @property
    def holds_old_bytes(self) -> bool:
        """Whether the file may hold bytes of removed records."""
        return self.erasure.holds_old_bytes or any(each.removals for each in self.partitions.values())

    def stop_checks(self) -> None:
        """End a check that runs in the background, which then reports nothing, and start no other."""
        self._inspection.close()

    def compact(self, stopping: Callable[[], bool]) -> bool:
        """Rewrite the file without the bytes of removed records. False if it was stopped or has no room.

        Raises lmdb.Error and OSError, after which the old file is still in use.
        """
        if self._lacks_room():
            return False
        source, requests = self.lmdb, self.erasure.requests
        try:
            with open_lmdb(self._directory.make_next_env(), self._map_bytes) as target:
                partitions = open_partitions(target, self._bounds)
                for _ in range(_MAX_ROUNDS):
                    changes = copy_changes(self.read, self.partitions, target, partitions, stopping)
                    if stopping() or self.lmdb is not source:
                        return False
                    if changes <= _FEW_CHANGES:
                        break
                target.sync(True)
                return self._switch(source, target, partitions, requests)
        finally:
            self._directory.forget_next_env()

    def check_process(self) -> None:
        self._gate.check_process()

    @property
    def file_bytes(self) -> int:
        return self._directory.data_file.stat().st_size

    def close(self) -> None:
        """Wait for running transactions, then close."""
        self._inspection.stop()
        self._gate.shut()
        self.lmdb.close()

    def _switch(
        self, source: lmdb.Environment, target: lmdb.Environment, partitions: Partitions, requests: int
    ) -> bool:
        """Copy the last changes while nobody else uses the store, then use the new file."""
        with self._gate.alone():
            if self.lmdb is not source:
                return False
            copy_changes(
                lambda: source.begin(buffers=True), self.partitions, target, partitions, lambda: False
            )
            target.sync(True)
            target.close()
            source.close()
            self._directory.adopt_next_env()
            self._length.forget()
            self.lmdb = self._open_checked()
            self.erasure.serve(requests, any(each.removals for each in partitions.values()))
        return True

    def _lacks_room(self) -> bool:
        with self.read() as txn:
            needed = sum(partition.size(txn).bytes for partition in self.partitions.values())
        disk = os.statvfs(self._directory.path)
        free = disk.f_bavail * disk.f_frsize
        if needed * _COMPACTION_SLACK <= free:
            return False
        _log.warning("compaction_lacks_room", needed_bytes=needed, free_bytes=free)
        return True

    @contextmanager
    def _track_damage(self) -> Iterator[None]:
        """Remember the environment in which damage occurred: a late report must not replace its successor."""
        env = self.lmdb
        try:
            yield
        except lmdb.Error as error:
            if _is_damage(error):
                self._broken = env
            raise

    def _replace(self, reason: str) -> None:
        """Quarantine the damaged environment once no transaction runs, and open an empty environment."""
        self._inspection.stop()
        with self._gate.alone():
            if self._broken is not self.lmdb:
                return
            self._broken = None
            self.lmdb.close()
            self._quarantine(reason)
            self._replace_closed()

    def _replace_closed(self) -> None:
        # If the disk refuses, the environment stays closed: misses and skipped puts until it is tried again.
        with suppress(StoreFailed):
            self.lmdb = self._open_empty()

    @property
    def _is_closed(self) -> bool:
        try:
            self.lmdb.stat()
        except lmdb.Error:
            return True
        return False

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
        return self._inspection.find_damage(self._directory.data_file)

    def _open_empty(self) -> lmdb.Environment:
        """Open after a quarantine. If the disk is too full, delete the quarantined environment first."""
        try:
            return self._open_checked()
        except StoreFailed:
            self._directory.forget_set_aside()
            return self._open_checked()

    def _open_checked(self) -> lmdb.Environment:
        """Open a file that passed its check. Raises _NOT_OURS errors if it is unusable after all, StoreFailed
        if the disk refuses.
        """
        try:
            env = open_lmdb(self._directory.make_env(), self._map_bytes)
            try:
                self.partitions = open_partitions(env, self._bounds)
            except lmdb.Error:
                env.close()
                raise
        except _NOT_OURS:
            raise
        except (lmdb.Error, OSError) as error:
            raise StoreFailed(
                f"LMDB cannot open the store: {error}", directory=self._directory.path
            ) from error
        return env

    def _quarantine(self, reason: str) -> None:
        self._directory.quarantine(reason)
        if self.erasure.due:
            self._directory.forget_set_aside()
        self.erasure.serve(self.erasure.requests)
        self._length.forget()
        self.quarantined = True


def _is_damage(error: lmdb.Error) -> bool:
    """py-lmdb raises plain lmdb.Error for a closed environment."""
    return type(error) is not lmdb.Error and not isinstance(error, _ORDINARY)
