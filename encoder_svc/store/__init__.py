"""The encoder's store: visual rows and uploaded images on local disk, bounded, checked, and warm after a
restart.

`keys` names records, `records` is their format on disk, `partition` indexes them inside a transaction,
`record_store` builds whole operations on that, `store` is the service's interface. Independent of gRPC,
asyncio and models. Calls block and belong in a thread.
"""

from encoder_svc.store.core import Amount, Put, StoredRows, StoredUpload, StoreLimits, StoreStats, TenantStats
from encoder_svc.store.keys import RowKey, UploadKey, pixel_digest, tenant_id, variant
from encoder_svc.store.store import LmdbStore, Store
from fovea.contract.errors import StoreClosed, StoreFailed, StoreForked, StoreInUse

__all__ = [
    "Amount",
    "LmdbStore",
    "Put",
    "RowKey",
    "Store",
    "StoreClosed",
    "StoreFailed",
    "StoreForked",
    "StoreInUse",
    "StoreLimits",
    "StoreStats",
    "StoredRows",
    "StoredUpload",
    "TenantStats",
    "UploadKey",
    "pixel_digest",
    "tenant_id",
    "variant",
]
