"""Loading takes all tensors of the language model in the right layout and refuses others by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from decoder_svc.engine.protocol import EngineLimits
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.model.load import load_text, split_layers
from decoder_svc.model.unpack import TORCH_DTYPE
from decoder_svc.native_engine.build import build
from fovea.contract.errors import CheckpointNotSupported
from fovea.contract.rows import RowDtype
from tests import tiny
from tests.decoder.native_engine.harness import settings

CPU = [torch.device("cpu")] * 4


def test_square_experts_are_turned_as_published(tmp_path: Path) -> None:
    """hidden 48 is 2 x 24: the shape of gate_up does not determine its layout; only that of down does."""
    folder = tiny.checkpoint(tmp_path, "moe", text_hidden=48)
    disk = load_file(folder / "model.safetensors")
    name = "layers.1.mlp.experts.gate_up_proj"
    published = disk["model.language_model." + name]
    assert published.shape[1] == published.shape[2]
    text = load_text(Checkpoint(folder), torch.float32, CPU).text
    assert torch.equal(text.get_parameter(name), published.transpose(1, 2))


def test_experts_saved_in_the_layout_of_the_modules_load_alike(tmp_path: Path) -> None:
    """What save_pretrained of transformers writes is not what is published."""
    published = tiny.checkpoint(tmp_path / "published", "moe")
    saved = tiny.checkpoint(tmp_path / "saved", "moe")
    tensors = load_file(saved / "model.safetensors")
    turned = {n: t.transpose(1, 2).contiguous() if ".experts." in n else t for n, t in tensors.items()}
    save_file(turned, saved / "model.safetensors", metadata={"format": "pt"})
    ours = [load_text(Checkpoint(f), torch.float32, CPU).text for f in (published, saved)]
    for (name, a), (_, b) in zip(*(t.named_parameters() for t in ours), strict=True):
        assert torch.equal(a, b), name


def test_tied_heads_share_the_embedding_and_others_do_not(tmp_path: Path) -> None:
    for kind, tied in (("dense", True), ("dense", False), ("moe", True)):
        folder = tiny.checkpoint(tmp_path / f"{kind}{tied}", kind, tied=tied)
        weights = load_text(Checkpoint(folder), torch.float32, CPU)
        assert torch.equal(weights.head, weights.text.embed_tokens.weight) is tied


def test_a_head_that_is_the_embedding_may_stand_beside_it(tmp_path: Path) -> None:
    """Files written by older versions hold both names of a tied weight."""
    folder = tiny.checkpoint(tmp_path, "dense", tied=True)
    edit_tensors(folder, lambda t: t.update({"lm_head.weight": t[TEXT + "embed_tokens.weight"].clone()}))
    weights = load_text(Checkpoint(folder), torch.float32, CPU)
    assert torch.equal(weights.head, weights.text.embed_tokens.weight)


def test_the_vision_tower_is_not_read(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path, "moe")
    tensors = load_file(folder / "model.safetensors")
    text_only = {n: t for n, t in tensors.items() if not n.startswith("model.visual.")}
    save_file(text_only, folder / "model.safetensors", metadata={"format": "pt"})
    seen: list[tuple[int, int]] = []
    parts = build(settings(folder), lambda done, total: seen.append((done, total)))
    assert seen == [(i, len(seen)) for i in range(1, len(seen) + 1)]
    assert (parts.model.shape.width, parts.model.shape.levels) == (64, 3)


@pytest.mark.parametrize("dtype", list(TORCH_DTYPE))
def test_every_dtype_loads_and_computes(tmp_path: Path, dtype: RowDtype) -> None:
    parts = build(settings(tiny.checkpoint(tmp_path, "moe"), dtype=dtype))
    assert parts.model.dtype.itemsize == dtype.itemsize
    assert parts.model.token_bytes == 4 * 2 * 2 * 16 * dtype.itemsize


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def quantised(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {name: tensors[name].to(torch.float8_e4m3fn)}


TEXT = "model.language_model."


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda f: edit_config(f, model_type="llama"), "llama"),
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "no safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 99), "model.safetensors"),
        (lambda f: edit_tensors(f, lambda t: t.pop("lm_head.weight")), "lm_head.weight"),
        (lambda f: edit_tensors(f, lambda t: t.pop(TEXT + "norm.weight")), "norm.weight"),
        (lambda f: edit_config(f, quantization_config={"quant_method": "fp8"}), "quantization_config"),
        (lambda f: edit_config(f, tie_word_embeddings=True), "tie_word_embeddings"),
        (
            lambda f: edit_tensors(
                f, lambda t: t.update(quantised(t, TEXT + "layers.1.self_attn.q_proj.weight"))
            ),
            "q_proj.weight is stored as float8_e4m3fn",
        ),
        (
            lambda f: edit_tensors(
                f, lambda t: t.update({"lm_head.weight": t["lm_head.weight"].to(torch.int8)})
            ),
            "lm_head.weight is stored as int8",
        ),
        (
            lambda f: edit_tensors(f, lambda t: t.update({TEXT + "more": torch.ones(1)})),
            "unknown tensors: more",
        ),
        (
            lambda f: edit_tensors(f, lambda t: t.update({TEXT + "norm.weight": torch.ones(1)})),
            r"norm.weight is \(1,\)",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, spoil: Callable[[Path], object], names: str
) -> None:
    folder = tiny.checkpoint(tmp_path, "moe")
    spoil(folder)
    with pytest.raises(CheckpointNotSupported, match=names):
        build(settings(folder))


def test_settings_that_contradict_the_model_are_refused(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path, "moe")
    with pytest.raises(ValueError, match="below max_context 1024"):
        build(settings(folder, kv_tokens=1000))
    with pytest.raises(ValueError, match="above the model's 32768"):
        build(settings(folder, limits=EngineLimits(max_context=40_000)))


def test_layers_are_split_in_ranges_as_even_as_can_be() -> None:
    devices = [torch.device("cuda", i) for i in range(3)]
    split = [device.index for device in split_layers(8, devices)]
    assert split == [0, 0, 0, 1, 1, 1, 2, 2]
