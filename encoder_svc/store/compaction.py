"""Copies the records of an environment into an empty one, so that nothing of removed records remains.

LMDB's own compaction copies whole pages, and a page may have bytes of removed records behind its values. So
records are copied one by one. Others go on writing: the copy is repeated until little has changed, and the
last changes are copied while nobody writes. A record that changed has another use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import lmdb

from encoder_svc.store.opening import Partitions
from encoder_svc.store.partition import Partition
from encoder_svc.store.tables import ReadTxn, Use

# Of a transaction: LMDB keeps its pages in memory until the commit.
_COPY_BYTES = 16 * 2**20

Read = Callable[[], AbstractContextManager[ReadTxn]]


def copy_changes(
    read: Read,
    source: Partitions,
    target: lmdb.Environment,
    copies: Partitions,
    stopping: Callable[[], bool],
) -> int:
    """Make `copies` equal to `source`; returns how many records differed. Records that change meanwhile are
    left to the next call.
    """
    return sum(_copy_partition(read, source[name], target, copies[name], stopping) for name in source)


def _copy_partition(
    read: Read, source: Partition, target: lmdb.Environment, copy: Partition, stopping: Callable[[], bool]
) -> int:
    with read() as txn:
        wanted = dict(source.uses(txn))
    with target.begin(buffers=True) as txn:
        present = dict(copy.uses(txn))
    obsolete = [key for key, use in present.items() if wanted.get(key) != use]
    missing = {key: use for key, use in wanted.items() if present.get(key) != use}
    with target.begin(write=True) as write:
        for key in obsolete:
            copy.remove(write, key)
    for batch in _batches(missing):
        if stopping():
            break
        with read() as txn, target.begin(write=True) as write:
            for key in batch:
                # Two records never have the same use at the same time.
                if source.has_whole_record(txn, key, missing[key]):
                    copy.adopt(write, source, txn, key)
    return len(obsolete) + len(missing)


def _batches(uses: Mapping[bytes, Use]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for key, use in uses.items():
        if batch and size + use.charge > _COPY_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(key)
        size += use.charge
    if batch:
        yield batch
