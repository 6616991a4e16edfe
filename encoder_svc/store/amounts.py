"""Bytes and records of a partition, as counted on disk.

The check of a data file imports this in a process of its own, so nothing here takes long to import.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """A count of records, and their bytes on disk in whole pages, including their sidecars."""

    records: int = 0
    bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.records + other.records, self.bytes + other.bytes)


@dataclass(frozen=True)
class Bounds:
    """Bytes that the records of a partition take at most, of all tenants and of each."""

    all_bytes: int
    tenant_bytes: int
