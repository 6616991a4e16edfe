"""The encoder's store: visual rows and uploaded images on local disk, bounded, checked, warm after
a restart.

`keys` names records, `records` is their form on disk, `area` indexes them inside a transaction,
`shelf` makes whole operations of that, `store` is what the service holds. Nothing here knows gRPC,
asyncio or a model: calls block and belong in a thread.
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
