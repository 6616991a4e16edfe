"""MobileNetV3-Small (arXiv:1905.02244), with the names and the numbers of torchvision's `mobilenet_v3_small`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from standin.gate.pictures import KINDS

MEAN, SPREAD = 127.5, 64.0
"""Of the bytes of a pixel, before the first convolution."""
LAST = 1024


@dataclass(frozen=True)
class Block:
    """A row of the paper's table 2: widths, kernel, squeeze-and-excitation, hard swish, stride."""

    entering: int
    kernel: int
    expanded: int
    leaving: int
    excited: bool
    swish: bool
    stride: int


BLOCKS = (
    Block(16, 3, 16, 16, True, False, 2),
    Block(16, 3, 72, 24, False, False, 2),
    Block(24, 3, 88, 24, False, False, 1),
    Block(24, 5, 96, 40, True, True, 2),
    Block(40, 5, 240, 40, True, True, 1),
    Block(40, 5, 240, 40, True, True, 1),
    Block(40, 5, 120, 48, True, True, 1),
    Block(48, 5, 144, 48, True, True, 1),
    Block(48, 5, 288, 96, True, True, 2),
    Block(96, 5, 576, 96, True, True, 1),
    Block(96, 5, 576, 96, True, True, 1),
)


class Convolution(nn.Sequential):
    """A convolution, its normalisation and its activation, if it has one."""

    def __init__(
        self, entering: int, leaving: int, kernel: int, stride: int = 1, groups: int = 1,
        activation: Callable[..., nn.Module] | None = None,
    ) -> None:  # fmt: skip
        parts: list[nn.Module] = [
            nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(leaving, eps=0.001, momentum=0.01),
        ]
        super().__init__(*parts, *([activation(inplace=True)] if activation else []))


class Excitation(nn.Module):
    """Squeeze-and-excitation: weighs each channel by all of them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        squeezed = _in_eights(width // 4)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(width, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, width, 1)
        self.activation, self.scale_activation = nn.ReLU(), nn.Hardsigmoid()

    def forward(self, rows: Tensor) -> Tensor:
        return rows * self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(rows)))))


def _in_eights(width: float) -> int:
    """The nearest multiple of eight, and at most a tenth less."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


class Residual(nn.Module):
    """An inverted residual: widen, filter each channel, excite, narrow."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        activation = nn.Hardswish if block.swish else nn.ReLU
        parts: list[nn.Module] = []
        if block.expanded != block.entering:
            parts.append(Convolution(block.entering, block.expanded, 1, activation=activation))
        parts.append(
            Convolution(
                block.expanded,
                block.expanded,
                block.kernel,
                block.stride,
                block.expanded,
                activation=activation,
            )
        )
        if block.excited:
            parts.append(Excitation(block.expanded))
        parts.append(Convolution(block.expanded, block.leaving, 1))
        self.block = nn.Sequential(*parts)
        self.added = block.stride == 1 and block.entering == block.leaving

    def forward(self, rows: Tensor) -> Tensor:
        return rows + self.block(rows) if self.added else self.block(rows)


class GateNetwork(nn.Module):
    """Pixels (N, 3, height, width), normalised, to a logit for each kind."""

    def __init__(self, kinds: int = len(KINDS)) -> None:
        super().__init__()
        first = Convolution(3, BLOCKS[0].entering, 3, 2, activation=nn.Hardswish)
        last = Convolution(BLOCKS[-1].leaving, 6 * BLOCKS[-1].leaving, 1, activation=nn.Hardswish)
        self.features = nn.Sequential(first, *map(Residual, BLOCKS), last)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * BLOCKS[-1].leaving, LAST),
            nn.Hardswish(inplace=True),
            nn.Dropout(0.2),
            nn.Linear(LAST, kinds),
        )
        self.apply(_start)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(pixels)).flatten(1))


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def normalised(pixels: Tensor) -> Tensor:
    """Pixels (N, 3, height, width), 0 to 255, as the network reads them."""
    return ((pixels - MEAN) / SPREAD).contiguous(memory_format=torch.channels_last)
