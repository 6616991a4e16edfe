"""Thins consecutive images, like frames of a video, by comparing their rows.

All rows are fetched first; the engine then reads the kept rows from memory. `thinning` selects the rows; the
fleet fetches them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from decoder_svc.budget.planned import PlannedImage
from decoder_svc.encoders.source import FetchReport, RowFetch
from decoder_svc.engine.protocol import RowChunk
from decoder_svc.images.prepare import PreparedRequest, gather_or_cancel
from decoder_svc.images.thinning import VideoFrame, newest
from fovea.contract.receipt import Step
from fovea.contract.rows import RowLayout
from fovea.pooled import pooled


@dataclass
class BufferedRows:
    """Rows that have been fetched, and the report of that fetch."""

    data: bytes
    rows: int
    report: FetchReport

    async def chunks(self) -> AsyncGenerator[RowChunk, None]:
        yield RowChunk(0, self.rows, self.data)


def runs(prepared: PreparedRequest) -> list[list[int]]:
    """Sequences of neighbours with equal planned grids, as numbers of distinct images.

    A repeat, which is a reference in the text, does not split a sequence.
    """
    sequences: list[list[int]] = []
    last: PlannedImage | None = None
    for place, image in enumerate(prepared.images):
        if image.repeat_of is None:
            if last is None or image.planned.grid_thw != last.planned.grid_thw:
                sequences.append([])
            sequences[-1].append(prepared.repeats.number(place))
        last = image
    return [sequence for sequence in sequences if len(sequence) > 1]


def bounded(prepared: PreparedRequest, share: float) -> PreparedRequest:
    """The request with the lower bounds of thinning: a sequence's first image keeps all rows, others 1."""
    thinned = {number for run in runs(prepared) for number in run[1:]} if share < 1 else set()
    images = (
        replace(image, sent_min=1) if prepared.repeats.number(place) in thinned else image
        for place, image in enumerate(prepared.images)
    )
    return replace(prepared, images=tuple(images))


async def thin(
    prepared: PreparedRequest, fetches: Sequence[RowFetch], layout: RowLayout, share: float
) -> tuple[PreparedRequest, Sequence[RowFetch]]:
    """The thinned request and the fetches of its rows. Raises what a fetch raises."""
    images_by_number, fetched = list(prepared.distinct), list(fetches)
    for run in runs(prepared):
        data = await gather_or_cancel([_read_all(fetches[number]) for number in run])
        images = [images_by_number[number] for number in run]
        kept = await asyncio.to_thread(_newest, images, data, layout, share)
        for number, rows, indexes in zip(run, data, kept, strict=True):
            fetched[number] = await asyncio.to_thread(_buffer, rows, indexes, layout, fetches[number].report)
            images_by_number[number] = _thinned(images_by_number[number], indexes, share)
    firsts: Mapping[int, PlannedImage] = dict(zip(prepared.repeats.distinct, images_by_number, strict=True))
    images = [firsts.get(place, image) for place, image in enumerate(prepared.images)]
    return replace(prepared, images=tuple(images)), fetched


def _newest(
    images: Sequence[PlannedImage], data: Sequence[bytes], layout: RowLayout, share: float
) -> list[NDArray[np.int64]]:
    frames = [
        VideoFrame(pooled(memoryview(rows), layout), _kept_indexes(image))
        for image, rows in zip(images, data, strict=True)
    ]
    return newest(frames, share)


def _buffer(data: bytes, indexes: NDArray[np.int64], layout: RowLayout, report: FetchReport) -> BufferedRows:
    rows = np.frombuffer(data, np.uint8).reshape(-1, layout.row_bytes)
    return BufferedRows(rows[indexes].tobytes(), len(indexes), report)


def _thinned(image: PlannedImage, indexes: NDArray[np.int64], share: float) -> PlannedImage:
    count, kept = len(indexes), _kept_indexes(image)[indexes]
    step = Step("near_repeats", image.sent, count, f"{share:.0%}")
    return replace(image, sent=count, sent_min=count, kept=kept, thinned=step)


def _kept_indexes(image: PlannedImage) -> NDArray[np.int32]:
    return np.arange(image.sent, dtype=np.int32) if image.kept is None else image.kept


async def _read_all(fetch: RowFetch) -> bytes:
    async with aclosing(fetch.chunks()) as chunks:
        return b"".join([chunk.data async for chunk in chunks])
