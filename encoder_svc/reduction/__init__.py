"""Which rows of an image matter most, by the image alone: an order made once, from which every plan takes the
best.

`rankers` names the ways to order, a file each; `choice` says how many rows a plan keeps; `gather` takes them
out of the record. Pure numpy on values: nothing here knows a disk, a tower, asyncio or protobuf.
"""
