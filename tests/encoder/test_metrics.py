"""The encoder's metrics of its store, and of images that only `PlaceRows` has encoded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from encoder_svc.core import PlacedRows
from encoder_svc.metrics import EncoderMetrics, StoreCollector
from encoder_svc.shared.level import SharedStats
from encoder_svc.store.core import PartitionStats, TenantStats
from encoder_svc.vision.output import Timings
from fovea.contract.errors import StoreFailed
from fovea.contract.rows import RowOrigin
from tests.encoder.test_leases import make_job


def test_a_store_that_fails_leaves_the_page_without_its_samples() -> None:
    reads = [TenantStats(rows=PartitionStats(evictions=3)), StoreFailed("the store could not count rows")]

    def total() -> TenantStats:
        now = reads.pop(0)
        if isinstance(now, StoreFailed):
            raise now
        return now

    registry = CollectorRegistry()
    registry.register(StoreCollector(total))
    sample = 'fovea_encoder_store_evictions_total{partition="rows"} 3.0'
    assert sample in generate_latest(registry).decode().splitlines()
    page = generate_latest(registry).decode()
    assert "# TYPE fovea_encoder_store_evictions_total counter" in page
    assert "partition" not in page


@pytest.mark.parametrize(
    ("origin", "images"), [(RowOrigin.ENCODED, 1), (RowOrigin.STORE, 0), (RowOrigin.NONE, 0)]
)
def test_an_image_that_was_encoded_to_place_its_rows_is_counted(origin: RowOrigin, images: int) -> None:
    registry = CollectorRegistry()
    state = SimpleNamespace(
        description=SimpleNamespace(limits=SimpleNamespace()),
        store_total=TenantStats,
        shared_stats=SharedStats,
    )
    metrics = EncoderMetrics(registry, cast(Any, state))
    metrics.placed(PlacedRows(make_job(), True, origin=origin, timings=Timings(tower_ms=20)))
    names = "fovea_encoder_images_total", "fovea_encoder_stage_seconds_count"
    page = generate_latest(registry.restricted_registry(names)).decode().splitlines()
    counted = f'fovea_encoder_images_total{{source="encoded"}} {images}.0' in page
    timed = f'fovea_encoder_stage_seconds_count{{stage="tower"}} {images}.0' in page
    assert (counted, timed) == (bool(images), bool(images))
