"""Domain types of the encoder: what decides rows, what a call requests, and what it gets. Values only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from encoder_svc.permits import WritePermit
from encoder_svc.reduction.ranking import Floats
from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import RowKey
from encoder_svc.tenant import Tenant
from encoder_svc.vision.output import Timings
from fovea.contract.plan import EncodePlan, RowSelection
from fovea.contract.row_stream import GridIndices
from fovea.contract.rows import RowLayout, RowOrigin
from fovea.deadline import Deadline
from fovea.geometry import Geometry, Planned

# Increment when the code would compute other rows from the same pixels. Older records then no longer match.
# Revision 4 retires records that may hold values that are not finite. Rows are now checked when they are
# packed, and again in the decoder, so a read does not check them.
ROWS_REVISION = 4


@dataclass(frozen=True)
class RowIdentity:
    """What decides the values of rows, beside pixels and plan."""

    fingerprint: str
    layout: RowLayout
    compute_dtype: str
    geometry: Geometry

    def fields(
        self, grid: tuple[int, int, int], flat_tolerance: int | None = None
    ) -> Mapping[str, str | int]:
        """The fields of a variant. A record matches only if all of them agree. The selection is not a field:
        the same record serves every selection.
        """
        return {
            "fingerprint": self.fingerprint,
            "rows_revision": ROWS_REVISION,
            "grid": "x".join(map(str, grid)),
            "flat_patches": "keep" if flat_tolerance is None else f"drop:{flat_tolerance}",
            "compute_dtype": self.compute_dtype,
            "row_dtype": self.layout.dtype.value,
            "width": self.layout.width,
            "levels": self.layout.levels,
        }


@dataclass(frozen=True)
class EncodeJob:
    """The rows that a call requests, after all checks have passed.

    `key` and `fields` name the record of all encoded rows. `plan` has its `max_pixels` resolved, and
    `plan.rows` selects the rows that are sent. `planned` is the cost without any reduction. `permit` allows
    to store what is computed, unless the image has been deleted since.
    """

    permit: WritePermit
    image: str
    key: RowKey
    fields: Mapping[str, str | int]
    size: tuple[int, int]
    plan: EncodePlan
    planned: Planned
    layout: RowLayout
    started: float
    deadline: Deadline = field(default_factory=Deadline)

    @property
    def tenant(self) -> Tenant:
        return self.permit.tenant

    @property
    def selection(self) -> RowSelection:
        return self.plan.rows

    @property
    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1000

    @property
    def slot_key(self) -> tuple[RowKey, RowSelection]:
        """Identifies the rows that are sent."""
        return self.key, self.selection


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """All encoded rows of an image. `origin` is ENCODED or STORE.

    `joined` means that another call has received the rows of the same computation. `saliency` and `uniform`
    have a value per row if they were computed too.
    """

    rows: StoredRows
    origin: RowOrigin
    timings: Timings
    joined: bool = False
    saliency: Floats | None = None
    uniform: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class ServedRows:
    """The rows of an image as they are sent. `encoded` counts the rows before selection."""

    job: EncodeJob
    rows: StoredRows
    encoded: int
    origin: RowOrigin
    timings: Timings
    joined: bool = False

    @property
    def kept(self) -> GridIndices | None:
        return self.rows.kept

    @property
    def count(self) -> int:
        return self.rows.count


@dataclass(frozen=True, eq=False)
class PlacedRows:
    """The kept indices of a plan; `kept` None is the whole grid. `origin` is NONE if the tower was not
    needed.

    `known` is false if only the tower could tell and it was not allowed to run. `order` has the indices of
    all encoded rows by decreasing importance, if the plan selects rows.
    """

    job: EncodeJob
    known: bool
    kept: GridIndices | None = None
    order: GridIndices | None = None
    origin: RowOrigin = RowOrigin.NONE
    joined: bool = False
    timings: Timings = field(default_factory=Timings)

    @property
    def count(self) -> int:
        if not self.known:
            return 0
        return self.job.planned.tokens if self.kept is None else len(self.kept)
