"""The vision tower: patches of many images in, visual rows of each out, in a packed call.

Blocking. The caller picks the thread and never runs two calls at once. Independent of queues, the store and
files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoder_svc.errors import TowerFailed
from encoder_svc.vision import checkpoint
from encoder_svc.vision.forward import Forward, ForwardOutput, TowerImage
from encoder_svc.vision.modules import VisionModel
from encoder_svc.vision.output import TowerOutput
from encoder_svc.vision.pack import TORCH_DTYPES, pack
from encoder_svc.vision.preprocess import CHANNELS, Patches
from fovea.contract.errors import CheckpointNotSupported, RowsNotFinite
from fovea.contract.rows import RowDtype, RowLayout
from fovea.fingerprint import Progress
from fovea.finite import first_not_finite
from fovea.geometry import Geometry
from fovea.machine import check_devices

CPU_PATCHES = 2048
"""Larger calls are slower on a CPU: four 768x768 images by 7 % on 1 thread, 19 % on 2 (stand-in)."""


def set_threads(threads: int) -> None:
    """CPU threads of the tower; 0 keeps torch's default."""
    if threads:
        torch.set_num_threads(threads)


class Tower:
    """`width` and `levels` are measured on a dummy image rather than read from the configuration."""

    def __init__(self, model: VisionModel, geometry: Geometry) -> None:
        with torch.inference_mode():
            self._forward = Forward(model)
        self._geometry = geometry
        self._values = CHANNELS * geometry.temporal * geometry.patch**2
        self.device, self.dtype = self._forward.device, self._forward.dtype
        self.width, self.levels = self._measure()

    @classmethod
    def load(
        cls,
        directory: Path | str,
        device: str = "cpu",
        dtype: RowDtype = RowDtype.FP32,
        progress: Progress = lambda done, total: None,
    ) -> Tower:
        """The tower of a checkpoint folder, computing in `dtype`, after a dummy image.

        ValueError if the machine lacks the device, or the device lacks the dtype.
        """
        no_bf16 = dtype is RowDtype.BF16 and not torch.cuda.is_bf16_supported(including_emulation=False)
        check_devices([device], torch.cuda.device_count(), no_bf16)
        model = checkpoint.load(directory, torch.device(device), TORCH_DTYPES[dtype], progress)
        return cls(model, Geometry.from_checkpoint(directory))

    @property
    def blocks_computed(self) -> int:
        """Since the start. Safe to read from any thread: it shows progress within a long call."""
        return self._forward.blocks_computed

    def layout(self, dtype: RowDtype) -> RowLayout:
        return RowLayout(self.width, self.levels, dtype)

    def encode(self, images: Sequence[Patches], dtype: RowDtype, saliency: bool = False) -> list[TowerOutput]:
        """The rows of each image in `layout(dtype)`, raster order, copied out of the batch.

        TowerFailed if the device is lost for good. RowsNotFinite if a computed or packed value is not finite,
        which fp16 can cause: such rows would poison every answer about the image.
        """
        for image in images:
            self._check(image)
        # Attention takes adjacent images of equal length in a single call.
        order = sorted(range(len(images)), key=lambda i: images[i].count)
        try:
            parts = [
                self._computed(part, dtype, saliency) for part in self._parts([images[i] for i in order])
            ]
        except torch.AcceleratorError as error:
            raise TowerFailed from error
        outputs = dict(zip(order, chain.from_iterable(parts), strict=True))
        return [outputs[i] for i in range(len(images))]

    def _check(self, image: Patches) -> None:
        cells = image.cells(self._geometry.merge)
        if image.values.shape != (cells * self._geometry.merge**2, self._values):
            raise ValueError(f"{image.values.shape} are not the patches of {image.grid_thw}")

    def _parts(self, images: Sequence[Patches]) -> Iterator[list[Patches]]:
        """Images that share a forward pass: all of them on a GPU, as many as fit the caches on a CPU."""
        part: list[Patches] = []
        for image in images:
            patches = sum(each.count for each in part) + image.count
            if part and self.device.type == "cpu" and patches > CPU_PATCHES:
                yield part
                part = []
            part.append(image)
        yield part

    def _computed(self, images: Sequence[Patches], dtype: RowDtype, saliency: bool) -> list[TowerOutput]:
        cells = [image.count // self._geometry.merge**2 for image in images]
        with torch.inference_mode():
            output = self._run(images, saliency)
            data = pack(output.rows, self.layout(dtype)).cpu().numpy()
            salient = self._by_cell(output.saliency, cells)
        bad = first_not_finite(data, self.layout(dtype))
        if bad is not None:
            raise RowsNotFinite("the image as the tower computes it", bad, dtype.value)
        rows = np.split(data, np.cumsum(cells)[:-1])
        return [TowerOutput(part.tobytes(), received) for part, received in zip(rows, salient, strict=True)]

    def _run(self, images: Sequence[Patches], saliency: bool) -> ForwardOutput:
        return self._forward(
            [TowerImage(torch.from_numpy(each.values), each.grid_thw[1:], each.kept) for each in images],
            saliency,
        )

    def _by_cell(self, saliency: Tensor | None, cells: Sequence[int]) -> list[Any]:
        if saliency is None:
            return [None] * len(cells)
        summed = saliency.view(-1, self._geometry.merge**2).sum(1).cpu().numpy()
        return [part.copy() for part in np.split(summed, np.cumsum(cells)[:-1])]

    def _measure(self) -> tuple[int, int]:
        with torch.inference_mode():
            rows = self._run([Patches.blank(self._geometry)], saliency=False).rows
        if not bool(rows.isfinite().all()):
            raise CheckpointNotSupported(
                "the vision tower computes values that are not finite for a grey image"
            )
        return self._forward.width, rows.shape[1] // self._forward.width - 1
