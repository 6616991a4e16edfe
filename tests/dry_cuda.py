"""A dry run of CUDA code on a machine without a GPU, with tensors that have a device and a shape but no values.

Every operation is checked for tensors of two devices. That is stricter than CUDA, which takes an index or a scalar
from the CPU and waits for the copy: such a wait is what a step on a GPU must not have.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)
HOPPER = (9, 0)
"""What kernels are chosen for."""
MOVES = (torch.ops.aten._to_copy.default,)
PRODUCTS = ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "_grouped_mm")


class MixedDevices(AssertionError):
    """An operation got tensors of different devices."""


class MixedDtypes(AssertionError):
    """A product got factors of different dtypes. Kernels refuse that, but shapes alone do not show it."""


class Strict(TorchDispatchMode):
    """Refuses mixed products, and operations across devices except explicit transfers."""

    def __init__(self) -> None:
        super().__init__()
        self._moves: tuple[Any, ...] = MOVES

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Allows `copy_` from another device: weights from a file, a batch into a graph's tensors."""
        self._moves = (*MOVES, torch.ops.aten.copy_.default)
        yield
        self._moves = MOVES

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        devices = {tensor.device for tensor in tensors if tensor.device.type != "meta"}
        if len(devices) > 1 and func not in self._moves:
            raise MixedDevices(f"{func} of the devices {sorted(map(str, devices))}")
        dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
        if len(dtypes) > 1 and func.overloadpacket.__name__ in PRODUCTS:
            raise MixedDtypes(f"{func} of the dtypes {sorted(map(str, dtypes))}")
        return func(*args, **(kwargs or {}))


@contextmanager
def dry_cuda() -> Iterator[Strict]:
    """Tensors made here are without values. What reads a value (`bool`, `item`) fails: on a GPU it would wait for
    all that was asked for before.
    """
    strict = Strict()
    with (
        patch.object(torch.cuda, "get_device_capability", lambda device=None: HOPPER),
        FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv()),
        strict,
    ):
        yield strict
