"""The vision tower on CUDA without a GPU: every tensor is on the device, in the dtype, and nothing waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoder_svc.vision import checkpoint
from encoder_svc.vision.attention import FlashVisionAttention, GroupedAttention, Packing
from encoder_svc.vision.forward import Forward, StillPatchEmbed, TowerImage
from encoder_svc.vision.pack import pack
from encoder_svc.vision.positions import Positions, PositionTables
from fovea.contract.rows import RowDtype, RowLayout
from tests.dry_cuda import CUDA, MixedDevices, MixedDtypes, Strict, dry_cuda

CPU = torch.device("cpu")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
VALUES = 3 * 2 * 16 * 16


def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **others: Any) -> torch.Tensor:
    """Stands in for the kernel of a missing package. Accepts the same arguments, on the same device and dtype."""
    starts = (others["cu_seqlens_q"], others["cu_seqlens_k"])
    assert {t.device for t in (q, k, v, *starts)} == {q.device}, "same device"
    assert q.dtype == k.dtype == v.dtype, "same dtype"
    assert {t.dtype for t in starts} == {torch.int32}, "the dtype of starts"
    return torch.empty_like(q)


@pytest.fixture(autouse=True)
def _no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the checkpoint have their shapes and no values, so that none is checked."""
    monkeypatch.setattr(
        checkpoint, "_read", lambda entry, name: torch.empty(entry.shape, dtype=torch.bfloat16)
    )
    monkeypatch.setattr(checkpoint, "_check_finite", lambda *a: None, raising=False)
    monkeypatch.setattr(torch.nn.Module, "_apply", apply)


def apply(
    self: torch.nn.Module, change: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
) -> torch.nn.Module:
    """Does what `to` and `to_empty` do. Torch's own swaps a tensor's inside, which a meta tensor refuses."""
    for module in self.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = torch.nn.Parameter(change(parameter), requires_grad=False)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else change(buffer)
    return self


def forward(strict: Strict, folder: Path, dtype: torch.dtype, kind: type[Any]) -> Forward:
    with strict.copying():
        model = checkpoint.load(folder, CUDA, dtype)
    tower = Forward(model)
    if kind is FlashVisionAttention:
        tower._attend = FlashVisionAttention.__new__(FlashVisionAttention)
        tower._attend._kernel = flash
    return tower


def images() -> list[TowerImage]:
    """Two images of equal size, a third of another, and a fourth with some of its cells; all on the CPU."""
    kept = np.array([0, 2, 5], np.int32)
    sizes = [((4, 6), None, 24), ((4, 6), None, 24), ((2, 8), None, 16), ((4, 6), kept, 12)]
    return [TowerImage(torch.empty(count, VALUES), grid, some) for grid, some, count in sizes]


def run(
    strict: Strict, folder: Path, dtype: torch.dtype = torch.bfloat16, kind: type[Any] = GroupedAttention
) -> None:
    """Rows of every dtype, and saliency. The second run reuses the position tables of the first."""
    with torch.inference_mode():
        tower = forward(strict, folder, dtype, kind)
        for salient in (True, False):
            output = tower(images(), salient)
            rows = output.rows
            assert (rows.device, rows.dtype, rows.shape) == (CUDA, dtype, (19, 4 * tower.width))
            assert (output.saliency is not None) == salient
        for row_dtype in RowDtype:
            assert pack(rows, RowLayout(tower.width, 3, row_dtype)).device == CUDA


@pytest.mark.parametrize("kind", [GroupedAttention, FlashVisionAttention])
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_the_tower_stays_on_its_device(folder: Path, dtype: str, kind: type[Any]) -> None:
    with dry_cuda() as strict:
        run(strict, folder, DTYPES[dtype], kind)


# Mix-ups that this must find, each planted alone in a tower that is otherwise right.


def spoil(path: str, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """An attribute of the forward, once it is made."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        build = Forward.__init__

        def spoilt(self: Forward, model: Any) -> None:
            build(self, model)
            owner: Any = self
            *parents, last = path.split(".")
            for name in parents:
                owner = owner[int(name)] if name.isdigit() else getattr(owner, name)
            setattr(owner, last, change(getattr(owner, last)))

        monkeypatch.setattr(Forward, "__init__", spoilt)

    return plant


def to_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to(CPU)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().float()


def parameter(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Any], Any]:
    return lambda tensor: torch.nn.Parameter(change(tensor), requires_grad=False)


def positions(**changes: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        of = PositionTables.of

        def spoilt(self: PositionTables, *args: Any) -> Positions:
            result = of(self, *args)
            return replace(
                result, **{name: change(getattr(result, name)) for name, change in changes.items()}
            )

        monkeypatch.setattr(PositionTables, "of", spoilt)

    return plant


def starts_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Packing, "starts", property(lambda self: torch.zeros(5, dtype=torch.int32)))


def patches_not_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    embed = StillPatchEmbed.__call__
    monkeypatch.setattr(StillPatchEmbed, "__call__", lambda self, values: embed(self, values.to(CPU)))


def patches_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    embed = StillPatchEmbed.__call__
    monkeypatch.setattr(StillPatchEmbed, "__call__", lambda self, values: embed(self, values.float()))


MIX_UPS: dict[str, tuple[type[Any], Callable[[pytest.MonkeyPatch], None]]] = {
    "patches on the CPU": (GroupedAttention, patches_not_moved),
    "patches in fp32": (GroupedAttention, patches_in_fp32),
    "weights of patches on the CPU": (GroupedAttention, spoil("_embed._weight", to_cpu)),
    "learned places on the CPU": (GroupedAttention, spoil("_positions._learned", to_cpu)),
    "places on the CPU": (GroupedAttention, positions(added=to_cpu)),
    "rotations on the CPU": (GroupedAttention, positions(rotations=to_cpu)),
    "starts on the CPU": (FlashVisionAttention, starts_on_cpu),
    "qkv on the CPU": (GroupedAttention, spoil("_blocks.0._qkv_weight", to_cpu)),
    "qkv in fp32": (GroupedAttention, spoil("_blocks.0._qkv_weight", wide)),
    "projection on the CPU": (GroupedAttention, spoil("_blocks.1._proj.weight", parameter(to_cpu))),
    "norm on the CPU": (GroupedAttention, spoil("_blocks.0._norm1.weight", parameter(to_cpu))),
    "MLP in fp32": (GroupedAttention, spoil("_blocks.0._mlp.linear_fc1.weight", parameter(wide))),
    "merger on the CPU": (GroupedAttention, spoil("_mergers.0.linear_fc2.weight", parameter(to_cpu))),
    "merger of a level in fp32": (GroupedAttention, spoil("_mergers.2.linear_fc1.weight", parameter(wide))),
}


@pytest.mark.long
@pytest.mark.parametrize("mix_up", MIX_UPS)
def test_a_planted_device_or_dtype_mix_up_is_detected(
    moe: Path, monkeypatch: pytest.MonkeyPatch, mix_up: str
) -> None:
    kind, plant = MIX_UPS[mix_up]
    with dry_cuda() as strict:
        run(strict, moe, kind=kind)
        plant(monkeypatch)
        with pytest.raises((MixedDevices, MixedDtypes, RuntimeError, AssertionError), match=r"device|dtype"):
            run(strict, moe, kind=kind)
