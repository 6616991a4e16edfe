"""Decode steps as CUDA graphs: a single launch instead of hundreds.

Graphs are recorded for some numbers of sequences. A step is padded to the next of these numbers with rows
that read and write the spare block. Prompts and images are computed without graphs. Independent of requests.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from decoder_svc.model.batch import Batch, Output, blank_batch

Forward = Callable[[Batch], Output]


def sizes(most: int) -> list[int]:
    """1, 2, 4, 8, then in steps of 8."""
    return sorted({*(n for n in (1, 2, 4) if n < most), *range(8, most, 8), most})


@dataclass(frozen=True, eq=False)
class Recorded:
    """A graph, its input tensors and its output tensors."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    output: Output


class DecodeGraphs:
    """`spare` is a block that no request holds. Tables have `width` blocks."""

    def __init__(
        self, forward: Forward, device: torch.device, width: int, block_size: int, spare: int
    ) -> None:
        self._forward = forward
        self._device = device
        self._width, self._block_size, self._spare = width, block_size, spare
        self._recorded: dict[int, Recorded] = {}

    def record(self, most: int) -> None:
        """The largest graph first, so that smaller graphs reuse its memory."""
        pool = None
        with torch.cuda.device(self._device):  # a graph records the current device
            for size in reversed(sizes(most)):
                batch = self._blank(size)
                self._forward(batch)  # chooses kernels and takes memory outside of the recording
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, pool=pool):
                    output = self._forward(batch)
                pool = graph.pool()
                self._recorded[size] = Recorded(graph, batch, output)

    def fits(self, batch: Batch) -> bool:
        """Whether the batch has only decodes: no visual row, no chunk and no prompt token without logits."""
        plan, count = batch.attention, len(batch.attention.queries)
        decodes = plan.decodes == count == len(batch.sample_at) and not batch.visual
        return bool(self._recorded) and decodes and count <= max(self._recorded)

    def __call__(self, batch: Batch) -> Output:
        """The output of a batch that fits. Read it before the next call."""
        count = len(batch.token_ids)
        known = sorted(self._recorded)
        recorded = self._recorded[known[bisect_left(known, count)]]
        _fill(recorded.batch.token_ids, batch.token_ids, 0)
        _fill(recorded.batch.positions.T, batch.positions.T, 0)
        _fill(recorded.batch.slots, batch.slots, self._spare * self._block_size)
        into, plan = recorded.batch.attention, batch.attention
        into.tables.fill_(self._spare)
        into.tables[:count, : plan.tables.shape[1]].copy_(plan.tables, non_blocking=True)
        _fill(into.lengths, plan.lengths, 1)
        into.context_starts[1:] = into.lengths.cumsum(0)
        recorded.graph.replay()
        return Output(recorded.output.logits[:count], recorded.output.finite[:count])

    def sample(self, size: int) -> Batch:
        """A batch of first tokens to try a graph with, each in a block of its own."""
        batch, own = self._blank(size), torch.arange(size, device=self._device)
        batch.token_ids.copy_(own + 1)  # not the recorded batch: a graph that ignores its input must show
        batch.positions.copy_(own + 5)
        batch.slots.copy_(own * self._block_size)
        batch.attention.tables[:, 0] = own
        return batch

    def _blank(self, size: int) -> Batch:
        """Planned for the longest possible context, for which the kernel is selected."""
        longest = self._width * self._block_size
        return blank_batch(size, longest, self._width, self._spare, self._block_size, self._device)


def _fill(into: Tensor, values: Tensor, padding: int) -> None:
    into[: len(values)].copy_(values, non_blocking=True)
    into[len(values) :] = padding


@torch.inference_mode()
def difference(graphs: DecodeGraphs, forward: Forward, batch: Batch) -> float:
    """The largest error of replayed logits, relative to the largest computed logit."""
    expected = forward(batch).logits.clone()
    return float((graphs(batch).logits - expected).abs().max() / expected.abs().max())
