"""Whether the sub-databases of an area agree with each other, asked once at opening.

The structural check cannot know that a count of pieces is absurd, that a record is missing from the order of
eviction, or that a branch page leads lookups astray. Each of these would later make an eviction loop, or keep
bytes that nobody counts. So every record is looked up here in every table. Values of pieces are not read: a
record vouches for its own bytes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from encoder_svc.store.core import Amount
from encoder_svc.store.errors import Unsound

if TYPE_CHECKING:
    from encoder_svc.store.partition import Partition
    from encoder_svc.store.tables import ReadTxn


def audit(area: Partition, txn: ReadTxn) -> None:
    """Raises Unsound where the tables of `area` disagree."""
    area.tables.check_flags(txn)
    records: Counter[bytes] = Counter()
    sizes: Counter[bytes] = Counter()
    total = pieces = 0
    for key, use in area.uses(txn):
        if not area.has_whole_record(txn, key, use):
            raise Unsound(f"{area.name}: a record is not in every table")
        total += 1
        pieces += use.pieces
        for owner in area.owners(key):
            records[owner] += area.counted_as(key)
            sizes[owner] += use.charge
    counts = area.tables.counts(txn)
    if counts != {"heads": total, "uses": total, "order": total, "pieces": pieces, "sizes": len(sizes)}:
        raise Unsound(f"{area.name}: the tables have different numbers of records")
    if any(area.size(txn, owner) != Amount(records[owner], size) for owner, size in sizes.items()):
        raise Unsound(f"{area.name}: the sums are not those of the records")
