"""Checks at opening that the tables of a partition agree.

The structural check cannot tell that a piece count is absurd, that a record is missing from the eviction
order, or that a branch page misdirects lookups. Each of these would later make an eviction loop, or keep
bytes that no sum counts. So the audit looks up every record in every table. It does not read pieces: a record
carries checks of its own bytes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from encoder_svc.store.amounts import Amount
from encoder_svc.store.errors import Unsound

if TYPE_CHECKING:
    from encoder_svc.store.partition import Partition
    from encoder_svc.store.tables import ReadTxn


def audit(partition: Partition, txn: ReadTxn) -> None:
    """Raises Unsound if the tables of `partition` disagree."""
    partition.tables.check_flags(txn)
    records: Counter[bytes] = Counter()
    sizes: Counter[bytes] = Counter()
    total = pieces = 0
    for key, use in partition.uses(txn):
        if not partition.has_whole_record(txn, key, use):
            raise Unsound(f"{partition.name}: a record is not in every table")
        total += 1
        pieces += use.pieces
        for owner in partition.owners(key):
            records[owner] += partition.counted_as(key)
            sizes[owner] += use.charge
    counts = partition.tables.counts(txn)
    if counts != {"heads": total, "uses": total, "order": total, "pieces": pieces, "sizes": len(sizes)}:
        raise Unsound(f"{partition.name}: the tables have different numbers of records")
    if any(partition.size(txn, owner) != Amount(records[owner], size) for owner, size in sizes.items()):
        raise Unsound(f"{partition.name}: the sums are not those of the records")
