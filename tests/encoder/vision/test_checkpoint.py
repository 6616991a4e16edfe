"""Requirements of a checkpoint folder, and what its fingerprint covers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from encoder_svc.vision import checkpoint
from encoder_svc.vision.tower import Tower
from fovea.contract.errors import CheckpointNotSupported
from fovea.fingerprint import fingerprint
from tests import tiny

CPU = torch.device("cpu")


@pytest.fixture
def copy(moe: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(moe, tmp_path / "copy"))


def load(folder: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(folder, CPU, torch.float32).state_dict())


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_every_vision_tensor_is_loaded_bit_for_bit(folder: Path) -> None:
    stored = load_file(folder / "model.safetensors")
    loaded = load(folder)
    assert len(loaded) == sum(name.startswith("model.visual.") for name in stored)
    for name, tensor in loaded.items():
        assert torch.equal(tensor, stored[f"model.visual.{name}"]), name


def test_the_language_model_is_neither_needed_nor_read(copy: Path) -> None:
    def drop(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if not name.startswith("model.visual.")]:
            del tensors[name]

    before = load(copy)
    edit_tensors(copy, drop)
    assert all(torch.equal(before[name], tensor) for name, tensor in load(copy).items())


def test_shards_load_like_a_single_file(tmp_path: Path, moe: Path) -> None:
    sharded = tiny.checkpoint(tmp_path, "moe", shards=3)
    assert not (sharded / "model.safetensors").exists()
    whole = load(moe)
    assert all(torch.equal(whole[name], tensor) for name, tensor in load(sharded).items())
    assert fingerprint(sharded) == fingerprint(moe)


def test_the_old_prefix_loads_and_has_the_same_fingerprint(copy: Path, moe: Path) -> None:
    def rename(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("model.visual.")]:
            tensors[name.removeprefix("model.")] = tensors.pop(name)

    before = load(moe)
    edit_tensors(copy, rename)
    assert all(torch.equal(before[name], tensor) for name, tensor in load(copy).items())
    assert fingerprint(copy) == fingerprint(moe)


def test_progress_ends_with_all_bytes(moe: Path) -> None:
    seen: list[tuple[int, int]] = []
    checkpoint.load(moe, CPU, torch.float32, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert seen == sorted(seen)


def test_a_missing_tensor_is_refused_by_name(copy: Path) -> None:
    edit_tensors(copy, lambda tensors: tensors.pop("model.visual.merger.norm.weight"))
    with pytest.raises(CheckpointNotSupported, match="lacks 1 vision tensors") as caught:
        load(copy)
    assert caught.value.metadata["tensor"] == "merger.norm.weight"


def test_a_tensor_of_another_shape_is_refused(copy: Path) -> None:
    name = "model.visual.merger.norm.weight"
    edit_tensors(copy, lambda tensors: tensors.update({name: torch.ones(3)}))
    with pytest.raises(CheckpointNotSupported, match="other shapes"):
        load(copy)


def test_an_extra_tensor_is_refused(copy: Path) -> None:
    extra = {"model.visual.more": torch.ones(3)}
    edit_tensors(copy, lambda tensors: tensors.update(extra))
    with pytest.raises(CheckpointNotSupported, match="too many"):
        load(copy)


def test_a_quantised_tensor_is_refused(copy: Path) -> None:
    """Its values mean nothing without scales that nobody here knows."""
    name = "model.visual.blocks.0.attn.qkv.weight"
    edit_tensors(copy, lambda tensors: tensors.update({name: tensors[name].to(torch.float8_e4m3fn)}))
    with pytest.raises(CheckpointNotSupported, match=f"{name} is stored as F8_E4M3"):
        load(copy)


def test_another_model_is_refused_by_its_type(copy: Path) -> None:
    edit_json(copy / "config.json", lambda config: config.update(model_type="llama"))
    with pytest.raises(CheckpointNotSupported, match="'llama'") as caught:
        load(copy)
    assert caught.value.metadata["supported"] == "qwen3_vl,qwen3_vl_moe"


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"short"),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64),
        lambda folder: (folder / "config.json").unlink(),
        lambda folder: (folder / "config.json").write_text("no json"),
        lambda folder: (folder / "preprocessor_config.json").unlink(),
    ],
)
def test_a_damaged_folder_is_a_typed_error(copy: Path, damage: Callable[[Path], object]) -> None:
    damage(copy)
    with pytest.raises(CheckpointNotSupported):
        load(copy)


def test_a_file_cut_short_is_a_typed_error(copy: Path) -> None:
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointNotSupported, match="not a whole safetensors file"):
        fingerprint(copy)


def test_an_index_cannot_name_a_file_outside_of_the_folder(copy: Path) -> None:
    index = {"weight_map": {"model.visual.x": "../model.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointNotSupported):
        load(copy)


def test_equal_folders_have_equal_fingerprints_and_other_weights_another(
    moe: Path, copy: Path, tmp_path: Path
) -> None:
    assert fingerprint(copy) == fingerprint(moe)
    assert fingerprint(tiny.checkpoint(tmp_path / "other", "moe", seed=1)) != fingerprint(moe)


def flip_a_bit(folder: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.visual.merger.linear_fc1.bias"].view(torch.int32)[7] ^= 1

    edit_tensors(folder, change)


def processor(**fields: object) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / "preprocessor_config.json", lambda config: config.update(fields))


def vision(**fields: object) -> Callable[[Path], None]:
    return lambda folder: edit_json(
        folder / "config.json", lambda config: config["vision_config"].update(fields)
    )


@pytest.mark.parametrize(
    "change",
    [
        flip_a_bit,
        vision(num_heads=8),
        vision(hidden_act="gelu"),
        vision(deepstack_visual_indexes=[0, 1, 3]),
        processor(size={"shortest_edge": 4096, "longest_edge": 1_000_000}),
        processor(image_mean=[0.4, 0.5, 0.5]),
    ],
)
def test_changes_that_affect_rows_change_the_fingerprint(copy: Path, change: Callable[[Path], None]) -> None:
    before = fingerprint(copy)
    change(copy)
    assert fingerprint(copy) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: edit_tensors(folder, lambda tensors: tensors["lm_head.weight"].zero_()),
        processor(processor_class="Other"),
        lambda folder: edit_json(folder / "config.json", lambda c: c.update(dtype="bfloat16")),
    ],
)
def test_changes_that_do_not_affect_rows_keep_the_fingerprint(
    copy: Path, change: Callable[[Path], None]
) -> None:
    before = fingerprint(copy)
    change(copy)
    assert fingerprint(copy) == before


def test_a_weight_that_is_not_finite_is_refused(copy: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.visual.blocks.1.mlp.linear_fc1.weight"][3, 5] = torch.nan

    edit_tensors(copy, spoil)
    with pytest.raises(CheckpointNotSupported, match=r"linear_fc1\.weight holds values that are not finite"):
        load(copy)


def test_a_weight_beyond_the_range_of_the_dtype_is_refused(copy: Path) -> None:
    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.visual.merger.linear_fc2.bias"][0] = 1e5

    edit_tensors(copy, enlarge)
    load(copy)
    with pytest.raises(CheckpointNotSupported, match="not finite in float16"):
        checkpoint.load(copy, CPU, torch.float16)


def test_a_tower_whose_dummy_is_not_finite_is_refused(copy: Path) -> None:
    """Every weight is finite, their products are not."""

    def enlarge(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.visual.merger.linear_fc2.weight"][:] = 3e38

    edit_tensors(copy, enlarge)
    with pytest.raises(CheckpointNotSupported, match="values that are not finite for a grey image"):
        Tower.load(copy)
