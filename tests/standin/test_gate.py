"""The gate's pictures, network, training and export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from encoder_svc.gate.gate import MAX_BYTES, Gate, GateSettings
from encoder_svc.gate.view import HEIGHT, WIDTH
from standin.checkpoint import steps_done
from standin.gate import pool as pool_module
from standin.gate.export import write_onnx
from standin.gate.network import GateNetwork, normalised
from standin.gate.pictures import KINDS, SPLITS, cut, draw
from standin.gate.pool import Pool, as_pixels
from standin.gate.sheet import HELD_OUT, PLAIN, TRAINED
from standin.gate.train import GateStage, train_gate

ONE_EACH = dict.fromkeys(KINDS, 1)


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "SHARD", 3)


def test_the_network_has_the_published_number_of_parameters() -> None:
    assert sum(each.numel() for each in GateNetwork(1000).parameters()) == 2_542_856
    assert sum(each.numel() for each in GateNetwork(1000).features.parameters()) == 927_008


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_draws_one_picture_and_splits_share_none(kind: str) -> None:
    first, again, *others = (np.asarray(draw(split, kind, 1)) for split in ("train", *SPLITS))
    assert np.array_equal(first, again)
    for other in others:
        assert first.shape != other.shape or not np.array_equal(first, other)
    assert first.ndim == 3


def test_pictures_of_unseen_generators_are_made_by_none_that_training_uses() -> None:
    for kind in set(KINDS) - {"BLANK"}:
        assert SPLITS["unseen"].drawers[kind] is not SPLITS["train"].drawers[kind]


def test_a_cut_keeps_three_quarters_of_each_side_and_is_the_same_for_a_seed() -> None:
    """What lies in the middle third of each side is never cut off, and fills at most that much more."""
    image = Image.new("RGB", (600, 400), (255, 255, 255))
    image.paste((255, 0, 0), (200, 133, 400, 266))
    for seed in range(30):
        part = np.asarray(cut(image, seed))
        assert np.array_equal(part, np.asarray(cut(image, seed)))
        red = (part[..., 1] < 128).mean() * 9
        assert 0.98 <= red <= 1.02 / 0.75**2


@pytest.mark.parametrize("means", ["fonts", "papers", "darks", "styles", "maps"])
def test_held_out_pictures_are_drawn_with_means_that_training_does_not_see(means: str) -> None:
    assert set(getattr(TRAINED, means)) & set(getattr(HELD_OUT, means)) <= {PLAIN}


def test_the_exported_model_judges_as_the_network_does(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = GateNetwork()
    pictures = torch.randint(0, 256, (24, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    network.train()
    for _ in range(5):  # statistics of the normalisations that are not those of a new network
        network(normalised(as_pixels(pictures)))
    network.eval()
    write_onnx(network, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").stat().st_size < MAX_BYTES
    gate = Gate.load(GateSettings(path=str(tmp_path / "model.onnx")))
    with torch.no_grad():
        expected = network(normalised(as_pixels(pictures))).softmax(1)
    for picture, shares in zip(pictures, expected, strict=True):
        seen = gate.judge(picture.numpy())
        assert seen.confidence == pytest.approx(shares.max().item(), abs=0.012)
        assert shares[KINDS.index(seen.kind)] == pytest.approx(shares.max().item(), abs=0.012)


@pytest.mark.usefixtures("small_shards")
def test_pictures_that_are_on_disk_are_not_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Pool.drawn(tmp_path, "train", ONE_EACH, 1)
    monkeypatch.setattr(pool_module, "draw", None)
    again = Pool.drawn(tmp_path, "train", ONE_EACH, 1)
    assert torch.equal(first.views, again.views)
    assert first.kinds.tolist() == [place for place in range(len(KINDS)) for _ in range(6)]


@pytest.mark.long
@pytest.mark.usefixtures("small_shards")
def test_training_that_was_stopped_resumes(tmp_path: Path) -> None:
    stage = GateStage(steps=1, batch=6, shards=ONE_EACH, held_out=ONE_EACH)
    train_gate(tmp_path, 1, stage)
    assert steps_done(tmp_path / "gate/gate.safetensors") == 1
    model = train_gate(tmp_path, 1, replace(stage, steps=3))
    assert steps_done(tmp_path / "gate/gate.safetensors") == 3
    Gate.load(GateSettings(path=str(model)))
    trained = model.read_bytes()
    assert train_gate(tmp_path, 1, replace(stage, steps=3)).read_bytes() == trained
