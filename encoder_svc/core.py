"""The words of the encoder: what decides rows, what a call asks for, and what it gets. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from encoder_svc.reduction.ranking import Places
from encoder_svc.store.core import StoredRows
from encoder_svc.store.keys import RowKey
from fovea.contract.plan import EncodePlan, RowSelection
from fovea.contract.rows import RowLayout, RowOrigin
from fovea.geometry import Geometry, Planned

# Raise by one whenever our code would compute other rows from the same pixels: old records no longer fit.
ROWS_REVISION = 3


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
        """The fields of a variant: a record answers only where all of them agree. Which of the rows are sent
        is not among them: one record serves every choice.
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
    """The rows that a call asks for, once it is sure that they can be had.

    `key` and `fields` name the record of all encoded rows, `plan.rows` says which of them are sent; the plan
    names its `max_pixels`. `planned` is what they cost where nothing is left out.
    """

    image: str
    key: RowKey
    fields: Mapping[str, str | int]
    size: tuple[int, int]
    plan: EncodePlan
    planned: Planned
    layout: RowLayout
    began: float

    @property
    def choice(self) -> RowSelection:
        return self.plan.rows

    @property
    def slot(self) -> tuple[RowKey, RowSelection]:
        """What tells the rows that are sent from all others."""
        return self.key, self.choice


@dataclass(frozen=True)
class Timings:
    """Milliseconds; zero where a stage did not happen. `total_ms` is from the call to the first row."""

    queue_ms: float = 0.0
    decode_ms: float = 0.0
    preprocess_ms: float = 0.0
    tower_ms: float = 0.0
    store_ms: float = 0.0
    total_ms: float = 0.0


@dataclass(frozen=True)
class EncodedRows:
    """All encoded rows of an image, and how they were come by: `origin` encoded or rows.

    `joined` where another call had asked first: the tower ran once for both.
    """

    rows: StoredRows
    origin: RowOrigin
    timings: Timings
    joined: bool = False


@dataclass(frozen=True)
class ServedRows:
    """The rows of one image as they go out; `encoded` is how many of its rows were ever computed."""

    asked: EncodeJob
    rows: StoredRows
    encoded: int
    origin: RowOrigin
    timings: Timings
    joined: bool = False


@dataclass(frozen=True)
class PlacedRows:
    """Which rows a plan sends; `kept` None is the whole grid. `origin` is none where the tower was not
    needed.

    Not `known` where only the tower could tell and was not to run. `order` has the places of all encoded
    rows, the most important first, where the plan chooses rows.
    """

    asked: EncodeJob
    known: bool
    kept: Places | None = None
    order: Places | None = None
    origin: RowOrigin = RowOrigin.NONE
    joined: bool = False
    timings: Timings = field(default_factory=Timings)

    @property
    def count(self) -> int:
        if not self.known:
            return 0
        return self.asked.planned.tokens if self.kept is None else len(self.kept)
