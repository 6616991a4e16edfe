"""Ranks the rows of an image by importance, from the image alone. A ranking is computed once and serves all
plans.

`rankers` names the reducers, each in its own module; `choice` decides how many rows a plan keeps; `gather`
copies them out of the record. Pure numpy on values, independent of disk, tower, asyncio and protobuf.
"""
