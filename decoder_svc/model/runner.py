"""Runs the steps of the model: by a recorded graph where a graph fits, else call by call."""

from __future__ import annotations

from dataclasses import dataclass

from decoder_svc.model.batch import Batch, Output
from decoder_svc.model.graphs import DecodeGraphs
from decoder_svc.model.text import TextDecoder


@dataclass(frozen=True, eq=False)
class ModelRunner:
    model: TextDecoder
    graphs: DecodeGraphs | None

    def forward(self, batch: Batch) -> Output:
        if self.graphs is not None and self.graphs.fits(batch):
            return self.graphs(batch)
        return self.model.forward(batch)

    def copy(self, source: int, target: int, tokens: int) -> None:
        self.model.copy(source, target, tokens)
