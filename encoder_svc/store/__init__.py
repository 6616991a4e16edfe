"""The encoder's store: visual rows and uploaded images on local disk, bounded, checked, and warm after a
restart.

`keys` names records, `records` is their format on disk, `partition` indexes them inside a transaction,
`record_store` builds whole operations on that, `store` is the service's interface. Independent of gRPC,
asyncio and models. Calls block and belong in a thread.
"""
