"""The encoder's metrics of its store."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from encoder_svc.metrics import StoreCollector
from encoder_svc.store.core import PartitionStats, TenantStats
from fovea.contract.errors import StoreFailed


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
