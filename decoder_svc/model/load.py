"""Fills the text modules from a checkpoint, tensor by tensor, and builds nothing else.

Modules are built without memory. Each parameter is read, laid out, converted and put on its device. A missing
or surplus tensor is refused. Peak memory is the model and a single tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from decoder_svc.engine.protocol import Quantization
from decoder_svc.model.checkpoint import HEAD, TEXT, Checkpoint
from decoder_svc.model.finite import is_finite
from decoder_svc.model.linear import Int8, Weight, stack
from decoder_svc.model.modules import TextModel
from fovea.contract.errors import CheckpointNotSupported

Progress = Callable[[int, int], None]  # tensors loaded, tensors in all


class TextWeights:
    """The filled text model with layer i on devices[i], and the head on the last device. With int8,
    the projections and experts of `text` hold integers, with separate scales.
    """

    def __init__(self, text: TextModel, head: Tensor, scales: dict[str, Tensor]) -> None:
        self.text = text
        self.head = head
        self._scales = scales

    def weight(self, name: str) -> Weight:
        values: Tensor = self.text.get_parameter(name).detach()
        return Int8(values, self._scales[name]) if name in self._scales else values

    def stacked(self, names: Sequence[str]) -> Weight:
        """Several weights for the same input as a single weight. The module's weights become views of it."""
        parts = [self.weight(name) for name in names]
        whole = stack(parts)
        values, start = whole.values if isinstance(whole, Int8) else whole, 0
        for name, part in zip(names, parts, strict=True):
            _put(self.text, name, values[start : start + len(part)])
            start += len(part)
        return whole


def load_text(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    devices: list[torch.device],
    quantization: Quantization = "none",
    progress: Progress | None = None,
) -> TextWeights:
    """Raises CheckpointNotSupported."""
    if checkpoint.architecture.quantized:
        raise CheckpointNotSupported(
            "config.json: quantization_config is set; the native engine takes weights that are not quantised",
            file="config.json",
            field="quantization_config",
        )
    text = _empty_model(checkpoint)
    wanted = [name for name, _ in text.named_parameters()]
    unknown = {n[len(TEXT) :] for n in checkpoint.files if n.startswith(TEXT)} - set(wanted)
    if unknown:
        raise CheckpointNotSupported(f"unknown tensors: {', '.join(sorted(unknown)[:3])}")
    transposed = _experts_are_transposed(checkpoint, text)
    scales: dict[str, Tensor] = {}
    for done, name in enumerate(wanted, start=1):
        tensor = checkpoint.read(TEXT + name)
        if transposed and ".experts." in name:
            tensor = tensor.transpose(1, 2).contiguous()
        tensor = tensor.to(_device_of(name, devices), dtype)
        _check_finite(TEXT + name, tensor)
        if quantization == "int8" and _is_projection(name):
            small = Int8.of(tensor)
            tensor, scales[name] = small.values, small.scales
        _put(text, name, tensor)
        if progress:
            progress(done, len(wanted))
    head = _head(checkpoint, text, dtype, devices[-1])
    if any(parameter.is_meta for parameter in text.parameters()):
        raise CheckpointNotSupported("some tensors of the text model were not filled")
    return TextWeights(text.eval(), head, scales)


def _is_projection(name: str) -> bool:
    """Nearly all bytes are in projections. Norms, router, embedding and head keep their values."""
    return name.removesuffix(".weight").endswith("_proj")


def _empty_model(checkpoint: Checkpoint) -> TextModel:
    with torch.device("meta"):
        return TextModel(checkpoint.architecture.text_config)


def _experts_are_transposed(checkpoint: Checkpoint, text: TextModel) -> bool:
    """Published checkpoints hold experts transposed, re-saved checkpoints do not. At most a single tensor of
    the pair is square, so the two shapes decide.
    """
    names = [n for n, _ in text.named_parameters() if ".experts." in n][:2]
    on_disk = [checkpoint.shape(TEXT + n) for n in names]
    wanted = [tuple(text.get_parameter(n).shape) for n in names]
    return on_disk != wanted and on_disk == [(e, b, a) for e, a, b in wanted]


def _put(module: nn.Module, name: str, tensor: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    parent = module.get_submodule(owner)
    expected = tuple(getattr(parent, leaf).shape)
    if tuple(tensor.shape) != expected:
        raise CheckpointNotSupported(
            f"{name} is {tuple(tensor.shape)}, the config asks for {expected}", tensor=name
        )
    setattr(parent, leaf, nn.Parameter(tensor, requires_grad=False))


def _device_of(name: str, devices: list[torch.device]) -> torch.device:
    if name.startswith("layers."):
        return devices[int(name.split(".")[1])]
    return devices[0] if name.startswith("embed_tokens.") else devices[-1]


def _head(checkpoint: Checkpoint, text: TextModel, dtype: torch.dtype, device: torch.device) -> Tensor:
    embedding: Tensor = text.embed_tokens.weight
    if checkpoint.architecture.tie_word_embeddings:
        _check_tied(checkpoint, embedding)
        return embedding.detach().to(device)
    head = checkpoint.read(HEAD).to(device, dtype)
    if head.shape != embedding.shape:
        raise CheckpointNotSupported(f"{HEAD} is {tuple(head.shape)}", tensor=HEAD)
    _check_finite(HEAD, head)
    return head


def _check_finite(name: str, tensor: Tensor) -> None:
    """A weight that is not finite spoils only the answers that use it, so no dummy request reveals it."""
    if not is_finite(tensor):
        dtype = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointNotSupported(
            f"{name} holds values that are not finite in {dtype}", tensor=name, dtype=dtype
        )


def _check_tied(checkpoint: Checkpoint, embedding: Tensor) -> None:
    """A separate head would be ignored here, while transformers uses it despite the config."""
    if HEAD in checkpoint.files and not torch.equal(checkpoint.read(HEAD).to(embedding), embedding.detach()):
        raise CheckpointNotSupported(
            f"config.json: tie_word_embeddings is true, but {HEAD} is not the embedding",
            file="config.json",
            field="tie_word_embeddings",
            tensor=HEAD,
        )


def split_layers(layers: int, devices: list[torch.device]) -> list[torch.device]:
    """A device for each layer: contiguous ranges of nearly equal size."""
    return [devices[i * len(devices) // layers] for i in range(layers)]
