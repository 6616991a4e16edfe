"""The vision tower: patches of many images in, visual rows of each out, in one packed call.

Wraps the vision model of `transformers`. Blocking; the caller decides on which thread, and that
only one call runs at a time. It knows no queue, no store and no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from encoder_svc.errors import TowerFailed
from encoder_svc.vision import checkpoint
from encoder_svc.vision.preprocess import CHANNELS, Patches
from encoder_svc.vision.rows import TowerRows
from fovea.fingerprint import Progress
from fovea.geometry import Geometry
from fovea.rows import RowDtype, RowLayout

TORCH_DTYPES = {
    RowDtype.BF16: torch.bfloat16,
    RowDtype.FP16: torch.float16,
    RowDtype.FP32: torch.float32,
}


def set_threads(threads: int) -> None:
    """CPU threads of the tower; 0 leaves torch's own choice."""
    if threads:
        torch.set_num_threads(threads)


class LinearPatchEmbed(nn.Module):
    """The patch embedding as one matrix product with the weights of the Conv3d that it replaces.

    Kernel and stride of that convolution are equal, so each patch meets the whole kernel once.
    """

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.weight = nn.Parameter(convolution.weight.flatten(1), requires_grad=False)
        self.bias = convolution.bias

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(patches.to(self.weight.dtype), self.weight, self.bias)


class Tower:
    """`width` and `levels` are measured on a dummy image, not believed from a configuration."""

    def __init__(self, model: PreTrainedModel, geometry: Geometry) -> None:
        model.patch_embed = LinearPatchEmbed(model.patch_embed.proj)
        self._model = model
        self._geometry = geometry
        self._values = CHANNELS * geometry.temporal * geometry.patch**2
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.attention: str = model.config._attn_implementation
        self.width, self.levels = self._measure()

    @classmethod
    def load(
        cls,
        directory: Path | str,
        device: str = "cpu",
        dtype: RowDtype = RowDtype.FP32,
        progress: Progress = lambda done, total: None,
    ) -> Tower:
        """The tower of a checkpoint folder, computing in `dtype`; it has answered a dummy by then."""
        model = checkpoint.load(directory, torch.device(device), TORCH_DTYPES[dtype], progress)
        return cls(model, Geometry.from_checkpoint(directory))

    def layout(self, dtype: RowDtype) -> RowLayout:
        return RowLayout(self.width, self.levels, dtype)

    def encode(self, images: Sequence[Patches], dtype: RowDtype, saliency: bool = False) -> list[TowerRows]:
        """The rows of each image in `layout(dtype)`, raster order, copied out of the batch.

        TowerFailed where the device is lost for good. ArithmeticError where a value is not finite,
        which fp16 can bring about: such rows would poison every answer about the image.
        """
        try:
            rows = self._rows(images)
            if not bool(torch.isfinite(rows).all()):
                raise ArithmeticError("the tower computed values that are not finite")
            data = rows.to(TORCH_DTYPES[dtype]).cpu().contiguous().view(torch.uint8).numpy()
        except torch.AcceleratorError as error:
            raise TowerFailed from error
        ends = np.cumsum([image.count // self._geometry.merge**2 for image in images])
        # Stand-in until the tower tells its attention: every row got the same.
        made = [part.tobytes() for part in np.split(data, ends[:-1])]
        counts = [image.count // self._geometry.merge**2 for image in images]
        return [
            TowerRows(data, np.ones(n, np.float32) if saliency else None)
            for data, n in zip(made, counts, strict=True)
        ]

    def _rows(self, images: Sequence[Patches]) -> torch.Tensor:
        """(tokens of all images, width * (1 + levels)): pooled, then the deepstack levels."""
        for image in images:
            if image.values.shape != (int(np.prod(image.grid_thw)), self._values):
                raise ValueError(f"{image.values.shape} are not the patches of {image.grid_thw}")
        packed = [torch.from_numpy(image.values) for image in images]
        values = packed[0] if len(packed) == 1 else torch.cat(packed)
        with torch.inference_mode():
            output = self._model(
                values.to(self.device, self.dtype),
                grid_thw=torch.tensor([image.grid_thw for image in images], device=self.device),
            )
            return torch.cat([output.pooler_output, *output.deepstack_features], dim=1)

    def _measure(self) -> tuple[int, int]:
        cells = self._geometry.merge
        dummy = Patches(np.zeros((cells**2, self._values), np.float32), (1, cells, cells))
        with torch.inference_mode():
            output = self._model(
                torch.from_numpy(dummy.values).to(self.device, self.dtype),
                grid_thw=torch.tensor([dummy.grid_thw], device=self.device),
            )
        return output.pooler_output.shape[1], len(output.deepstack_features)
