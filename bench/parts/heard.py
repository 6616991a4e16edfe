"""One question as its caller hears it: when the first token came, when the last, and the receipt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from bench.turns import ms_since
from fovea.client import Client, Finished, Message, Sampling, Text
from fovea.contract.receipt import Receipt


@dataclass(frozen=True)
class Heard:
    """Milliseconds from before the call, uploads included. The end counts where an answer is empty."""

    ttft_ms: float
    total_ms: float
    receipt: Receipt

    @property
    def sources(self) -> set[str]:
        return {image.source for image in self.receipt.images}

    def came_from(self, source: str) -> Heard:
        """Itself. RuntimeError where any image came from elsewhere: the figure would be of another thing."""
        if self.sources != {source}:
            raise RuntimeError(f"the images came from {sorted(self.sources)}, expected {source}")
        return self


def hear(
    client: Client,
    question: str | Sequence[Message],
    images: Sequence[str | bytes],
    sampling: Sampling,
) -> Heard:
    begin, first, receipt = time.perf_counter(), None, None
    with closing(client.stream(question, images, sampling=sampling)) as events:
        for event in events:
            if first is None and isinstance(event, Text | Finished):
                first = ms_since(begin)
            if isinstance(event, Finished):
                receipt = event.receipt
    if first is None or receipt is None:
        raise RuntimeError("the stream ended without an answer")
    return Heard(first, ms_since(begin), receipt)
