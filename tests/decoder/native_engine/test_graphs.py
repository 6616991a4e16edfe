"""When decode steps may be replayed as CUDA graphs. Recording needs a device; the decisions do not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from decoder_svc.model.batch import Batch, blank_batch
from decoder_svc.model.graphs import DecodeGraphs
from decoder_svc.native_engine import build
from decoder_svc.native_engine.build import GRAPH_ERROR, NativeSettings
from decoder_svc.native_engine.kv import BlockManager

CPU = torch.device("cpu")


def decodes(count: int) -> Batch:
    return blank_batch(count, 16, 4, 0, 4, CPU)


def recorded(*sizes: int) -> DecodeGraphs:
    graphs = DecodeGraphs(None, CPU, 4, 4, 0)  # type: ignore[arg-type]
    graphs._recorded = dict.fromkeys(sizes)  # type: ignore[arg-type]
    return graphs


def test_a_batch_of_decodes_fits_up_to_the_largest_graph() -> None:
    graphs = recorded(1, 2, 4)
    assert [graphs.fits(decodes(count)) for count in (1, 3, 4, 5)] == [True, True, True, False]
    assert not recorded().fits(decodes(1))


def test_a_prompt_chunk_of_a_single_token_is_not_replayed() -> None:
    """Its token is not the last of the prompt, so nothing is sampled; a graph computes logits of every row."""
    batch = decodes(2)
    chunk = replace(batch, sample_at=batch.sample_at[:1])
    assert not recorded(1, 2, 4).fits(chunk)


@pytest.mark.parametrize(
    ("error", "replays"), [(0.0, True), (GRAPH_ERROR, True), (2 * GRAPH_ERROR, False), (math.nan, False)]
)
def test_graphs_with_other_logits_are_not_used(
    monkeypatch: pytest.MonkeyPatch, error: float, replays: bool
) -> None:
    monkeypatch.setattr(DecodeGraphs, "record", lambda self, most: None)
    monkeypatch.setattr(build, "difference", lambda *given: error)
    model: Any = SimpleNamespace(devices=[torch.device("cuda")], forward=None)
    monkeypatch.setattr(DecodeGraphs, "sample", lambda self, size: None)
    attention: Any = SimpleNamespace(captures=True)
    graphs, how = build._graphs(NativeSettings(None), model, attention, BlockManager(4, 4))  # type: ignore[arg-type]
    assert (graphs is not None) == replays, how


class Device:
    """Notes the device that is current."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current: object = "another"
        monkeypatch.setattr(torch.cuda, "device", self._switch)
        monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)

    @contextmanager
    def _switch(self, device: object) -> Iterator[None]:
        before, self.current = self.current, device
        yield
        self.current = before


def test_graphs_are_recorded_on_the_device_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(monkeypatch)
    seen: list[object] = []

    class Stop(Exception):
        pass

    def forward(batch: Batch) -> Any:
        seen.append(device.current)
        raise Stop

    with pytest.raises(Stop):
        DecodeGraphs(forward, CPU, 4, 4, 0).record(2)
    assert seen == [CPU]
