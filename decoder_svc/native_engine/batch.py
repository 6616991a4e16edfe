"""From the chunks of a step to the batch that the model reads. Built on the host and moved once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decoder_svc.model.attention import AttentionPlan
from decoder_svc.model.batch import Batch, VisualRows
from decoder_svc.native_engine.scheduler import StepChunk


def make_batch(chunks: Sequence[StepChunk], block_size: int, spare: int) -> Batch:
    """`chunks` is not empty. `spare` is a block that no request holds."""
    tables = _tables(chunks, spare)
    ends = np.cumsum([chunk.tokens for chunk in chunks])
    parts = [(c.state, slice(c.start, c.end)) for c in chunks]
    return Batch(
        token_ids=_tensor(np.concatenate([s.token_ids[part] for s, part in parts])),
        positions=_tensor(np.concatenate([s.positions[:, part] for s, part in parts], axis=1)),
        slots=_tensor(np.concatenate(list(_slots(chunks, tables, block_size)))),
        sample_at=_tensor(ends[[chunk.completes for chunk in chunks]] - 1),
        attention=AttentionPlan(
            queries=tuple(chunk.tokens for chunk in chunks),
            contexts=tuple(chunk.end for chunk in chunks),
            tables=torch.from_numpy(tables),
            query_starts=_starts(ends),
            context_starts=_starts(np.cumsum([chunk.end for chunk in chunks])),
            lengths=torch.tensor([chunk.end for chunk in chunks], dtype=torch.int32),
            block_size=block_size,
        ),
        visual=tuple(_visual(chunks)),
    )


def _tables(chunks: Sequence[StepChunk], spare: int) -> NDArray[np.int32]:
    tables = np.full((len(chunks), max(len(c.state.table) for c in chunks)), spare, np.int32)
    for row, chunk in zip(tables, chunks, strict=True):
        row[: len(chunk.state.table)] = chunk.state.table
    return tables


def _slots(
    chunks: Sequence[StepChunk], tables: NDArray[np.int32], block_size: int
) -> Iterator[NDArray[np.int64]]:
    for row, chunk in zip(tables, chunks, strict=True):
        block, offset = np.divmod(np.arange(chunk.start, chunk.end), block_size)
        yield row[block].astype(np.int64) * block_size + offset


def _visual(chunks: Sequence[StepChunk]) -> Iterator[VisualRows]:
    """The rows that fall into the chunks."""
    base = 0
    for chunk in chunks:
        begin = chunk.start
        for image in chunk.state.images:
            first, last = max(begin, image.span.start), min(chunk.end, image.span.end)
            if first < last:
                cut = slice(first - image.span.start, last - image.span.start)
                data = torch.from_numpy(image.data[cut])
                yield VisualRows(base + first - begin, data, image.layout)
        base += chunk.tokens


def _starts(ends: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], ends]).astype(np.int32))


def _tensor(values: NDArray[np.int32] | NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))
