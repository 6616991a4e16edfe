"""Value types of the store: limits, rows, uploads, outcomes and counts. No disk, no LMDB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np

from encoder_svc.store.amounts import Bounds
from fovea.contract.row_stream import GridIndices
from fovea.contract.rows import RowLayout

FILL = 0.8
_MAP_FACTOR = 1.25
_MAP_SLACK = 64 * 1024 * 1024

Skip = Literal["off", "too_large", "write_failed"]
Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]
Facts = Mapping[str, Json]


@dataclass(frozen=True)
class StoreLimits:
    """Disk limits of rows and uploads. A partition that is 80 % full evicts its least recently used
    records. A tenant that has more than `tenant_share` of these 80 % evicts its own first; 0 is no share.

    A capacity of 0 stores no rows; uploads are always stored.
    """

    capacity_bytes: int
    uploads_bytes: int
    tenant_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.tenant_share <= 1:
            raise ValueError("the share of a tenant is between 0 and 1")
        if self.capacity_bytes < 0 or self.uploads_bytes <= 0:
            raise ValueError("a store needs room for uploads; without any for rows it keeps none")

    @property
    def rows(self) -> Bounds:
        return self._bounds(self.capacity_bytes)

    @property
    def uploads(self) -> Bounds:
        return self._bounds(self.uploads_bytes)

    def _bounds(self, capacity: int) -> Bounds:
        bound = int(capacity * FILL)
        return Bounds(bound, int(bound * self.tenant_share) if self.tenant_share else bound)

    @property
    def map_bytes(self) -> int:
        """The fixed size of LMDB's map, and so the largest size of the file.

        The map is 1.25 times the capacity, plus 64 MiB. Records take at most 80 % of the capacity, which is
        64 % of that. The rest is for pages that copy-on-write retains (LMDB reuses a page two commits after
        it was freed) and for gaps too short for a piece of 256 KiB. The 64 MiB let a small store accept a
        large record.
        """
        wanted = int((self.capacity_bytes + self.uploads_bytes) * _MAP_FACTOR) + _MAP_SLACK
        return -(-wanted // 2**20) * 2**20


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Visual rows as stored and sent, in raster order: `count * layout.row_bytes` bytes.

    `kept` are the kept indices, None if all rows of the grid are present.
    """

    data: memoryview
    layout: RowLayout
    grid_thw: tuple[int, int, int]
    digest: str = ""
    kept: GridIndices | None = None

    def __post_init__(self) -> None:
        if self.data.nbytes == 0 or self.data.nbytes % self.layout.row_bytes:
            raise ValueError(f"{self.data.nbytes} bytes are not whole rows of {self.layout.row_bytes} bytes")
        if self.kept is not None and len(self.kept) != self.count:
            raise ValueError(f"{self.count} rows stand at {len(self.kept)} places")

    @property
    def count(self) -> int:
        return self.data.nbytes // self.layout.row_bytes

    @property
    def indices(self) -> GridIndices:
        """Indices of these rows in the merged grid."""
        return np.arange(self.count, dtype=np.int32) if self.kept is None else self.kept


@dataclass(frozen=True)
class StoredUpload:
    """An uploaded image and the facts measured at upload."""

    data: memoryview
    facts: Facts


@dataclass(frozen=True)
class Put:
    """Whether a record was stored, and if not why. A skipped put never fails the caller's request."""

    skipped: Skip | None = None

    @property
    def stored(self) -> bool:
        return self.skipped is None


@dataclass(frozen=True)
class PartitionStats:
    """`records` and `bytes` (in whole pages) are on disk; the others count since the process started."""

    records: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    puts: int = 0
    skipped_puts: int = 0
    evictions: int = 0
    failed_checks: int = 0
    errors: int = 0

    def __add__(self, other: PartitionStats) -> PartitionStats:
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return PartitionStats(**sums)


@dataclass(frozen=True)
class TenantStats:
    """A tenant's share of the store."""

    rows: PartitionStats = field(default_factory=PartitionStats)
    uploads: PartitionStats = field(default_factory=PartitionStats)

    def __add__(self, other: TenantStats) -> TenantStats:
        return TenantStats(self.rows + other.rows, self.uploads + other.uploads)


@dataclass(frozen=True)
class StoreStats:
    """The store by tenant id. `quarantined`: an unusable environment was set aside at opening."""

    tenants: Mapping[bytes, TenantStats]
    limits: StoreLimits
    file_bytes: int
    quarantined: bool

    @property
    def total(self) -> TenantStats:
        return sum(self.tenants.values(), TenantStats())
