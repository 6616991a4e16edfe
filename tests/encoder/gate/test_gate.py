"""The gate judges kinds; a judgement without confidence, a blank image and a bad model leave them to rules."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from encoder_svc.gate import gate as gate_module
from encoder_svc.gate.gate import MAX_BYTES, WEIGHTS, Gate, GateSettings, GateUnavailable
from encoder_svc.gate.view import CELL, HEIGHT, SIDE, WIDTH, thumbnail, view
from encoder_svc.images.decode import decode
from encoder_svc.images.limits import ImageLimits
from fovea.contract.budget import Detail
from fovea.contract.image import ImageFacts, ImageKind
from fovea.geometry import Geometry
from fovea.planning.detail import READABLE_TEXT_PX, ImageTraits, sufficient
from standin.dataset import SIZES
from standin.draw import DRAWERS
from tests.encoder.gate.models import SIX, gate_file
from tests.encoder.images.files import encoded, picture

RGB = picture()
FACTS = ImageFacts("sha256:0", "sha256:1", "PNG", 9, 48, 32, 1, False, kind=ImageKind.GRAPHIC)
SURE_OF_A_CHART = [0.02, 0.02, 0.9, 0.02, 0.02, 0.02]
NO_SUCH_KIND = SIX.replace("CHART", "SCRIPT")


@pytest.mark.parametrize(
    ("shares", "kind", "confidence"),
    [
        (SURE_OF_A_CHART, "CHART", 0.9),
        ([0.1, 0.71, 0.1, 0.03, 0.03, 0.03], "TABLE", 0.71),
        ([0.1, 0.69, 0.1, 0.05, 0.03, 0.03], "GRAPHIC", 0.0),
        ([0.0, 0.0, 0.0, 0.0, 0.01, 0.99], "GRAPHIC", 0.0),
    ],
)
def test_a_confident_judgement_replaces_the_kind_of_the_rules_unless_it_is_blank(
    shares: list[float], kind: str, confidence: float, tmp_path: Path
) -> None:
    gate = Gate.load(GateSettings(0.7, gate_file(tmp_path / "model.onnx", shares)))
    assert gate.refine(RGB, FACTS) == replace(FACTS, kind=ImageKind(kind), kind_confidence=confidence)


@pytest.mark.parametrize(
    ("least", "shares", "kind"),
    [
        (0.5, [0.05, 0.05, 0.05, 0.79, 0.06, 0.0], "PHOTO"),
        (0.5, [0.05, 0.05, 0.05, 0.81, 0.04, 0.0], "DRAWING"),
        (0.5, [0.05, 0.05, 0.75, 0.1, 0.05, 0.0], "PHOTO"),
        (0.5, [0.6, 0.1, 0.1, 0.1, 0.1, 0.0], "TEXT"),
        (0.9, [0.05, 0.05, 0.05, 0.81, 0.04, 0.0], "PHOTO"),
    ],
)
def test_a_graphic_where_rules_see_a_photo_needs_more_confidence(
    least: float, shares: list[float], kind: str, tmp_path: Path
) -> None:
    gate = Gate.load(GateSettings(least, gate_file(tmp_path / "model.onnx", shares)))
    assert gate.refine(RGB, replace(FACTS, kind=ImageKind.PHOTO)).kind == kind


def test_a_blank_image_stays_blank_whatever_the_network_sees(tmp_path: Path) -> None:
    gate = Gate.load(GateSettings(0.7, gate_file(tmp_path / "model.onnx", SURE_OF_A_CHART)))
    blank = replace(FACTS, kind=ImageKind.BLANK)
    assert gate.refine(RGB, blank) == blank


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (lambda path: None, "cannot be read"),
    "a folder": (lambda path: path.mkdir(), "cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "cannot load"),
    "noise": (lambda path: path.write_bytes(random.Random(1).randbytes(5000)), "cannot load"),
    "cut": (lambda path: path.write_bytes(WEIGHTS.read_bytes()[:-5000]), "cannot load"),
    "too large": (lambda path: path.write_bytes(bytes(MAX_BYTES + 1)), f"larger than {MAX_BYTES}"),
    "another size": (
        lambda path: gate_file(path, SURE_OF_A_CHART, shape=(1, HEIGHT, WIDTH + 1, 3)),
        "no gate",
    ),
    "four channels": (lambda path: gate_file(path, SURE_OF_A_CHART, shape=(1, HEIGHT, WIDTH, 4)), "no gate"),
    "floats": (lambda path: gate_file(path, SURE_OF_A_CHART, pixel=1), "no gate"),
    "more shares than names": (lambda path: gate_file(path, [*SURE_OF_A_CHART, 0.0]), "no gate"),
    "no names": (lambda path: gate_file(path, SURE_OF_A_CHART, kinds=None), "no gate"),
    "a name that is no kind": (lambda path: gate_file(path, SURE_OF_A_CHART, kinds=NO_SUCH_KIND), "no gate"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_model_that_is_no_gate_is_not_available(fault: str, tmp_path: Path) -> None:
    write, message = BAD[fault]
    write(tmp_path / "model.onnx")
    with pytest.raises(GateUnavailable, match=message):
        Gate.load(GateSettings(path=str(tmp_path / "model.onnx")))


@pytest.mark.parametrize("module", ["onnxruntime", "onnxruntime.capi.onnxruntime_pybind11_state"])
def test_without_onnxruntime_the_gate_is_not_available(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(GateUnavailable, match="not installed"):
        Gate.load(GateSettings())


@pytest.mark.parametrize("size", [(1, 1), (3, 5000), (5000, 3), (40, 30), (1000, 1000), (SIDE, SIDE)])
def test_a_thumbnail_has_one_size_and_the_mean_colour(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    small = thumbnail(image)
    assert small.shape == (SIDE, SIDE, 3)
    assert np.abs(small.mean((0, 1)) - image.mean((0, 1))).max() < 12
    if size == (SIDE, SIDE):
        assert np.array_equal(small, image)


@pytest.mark.parametrize("size", [(1, 1), (3, 5000), (5000, 3), (40, 30), (1000, 1000), (CELL, CELL)])
def test_a_view_of_any_image_has_one_size(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    seen = view(image)
    assert seen.shape == (HEIGHT, WIDTH, 3)
    assert np.array_equal(seen[:SIDE], thumbnail(image))


def test_a_view_has_the_busiest_and_the_calmest_cell_at_full_scale() -> None:
    """A cell of noise, a cell of grain and a cell of one colour, among ramps."""
    rng = np.random.default_rng(1)
    image = np.broadcast_to(np.arange(0, 200, 200 / 640)[None, :, None], (320, 640, 3)).astype(np.uint8)
    image[64:128, 512:576] = rng.integers(0, 256, (CELL, CELL, 3))
    image[192:256, 64:128] = rng.integers(90, 110, (CELL, CELL, 3))
    image[256:320, 320:384] = 100  # as the ramp has it there
    seen = view(image)
    assert np.array_equal(seen[SIDE:, :CELL], image[64:128, 512:576])
    assert np.array_equal(seen[SIDE:, CELL:], image[256:320, 320:384])


def test_the_cells_of_a_small_image_repeat_its_edges() -> None:
    image = np.random.default_rng(2).integers(0, 256, (40, 30, 3), np.uint8)
    for cell in (view(image)[SIDE:, :CELL], view(image)[SIDE:, CELL:]):
        assert np.array_equal(cell[:40, :30], image)
        assert (cell[40:, :30] == image[-1]).all()


def test_the_shipped_weights_are_small_and_know_the_pictures_of_the_stand_in() -> None:
    assert WEIGHTS.stat().st_size <= MAX_BYTES == gate_module.MAX_BYTES
    gate, rng = Gate.load(GateSettings()), random.Random(3)
    kinds = ("CHART", "CHART", "CHART", "TABLE", None, "PHOTO", "TEXT")
    right = []
    for draw, kind in zip(DRAWERS, kinds, strict=True):
        for _ in range(10 if kind else 0):
            seen = gate.judge(np.asarray(draw(rng, *rng.choice(SIZES)).canvas.image))
            right.append(seen.kind == kind)
    assert sum(right) >= 0.9 * len(right)


@pytest.mark.long
def test_auto_plans_the_pictures_of_the_stand_in_as_rules_do() -> None:
    """A picture with measured text is planned by its text. Of the others, few may change between a photo and a
    graphic; refined kinds have the plan of their kind by rules.
    """
    gate, rng, refined, differing = Gate.load(GateSettings()), random.Random(4), 0, []
    for number in range(20 * len(DRAWERS)):
        image = DRAWERS[number % len(DRAWERS)](rng, *rng.choice(SIZES)).canvas.image
        if number % 3 == 0:
            image = image.resize((image.width * 4, image.height * 4), Image.Resampling.BICUBIC)
        decoded = decode(encoded(image), ImageLimits())
        facts = gate.refine(decoded.rgb, decoded.facts)
        plans = [
            sufficient(ImageTraits.of(each), Detail.AUTO, READABLE_TEXT_PX, Geometry())
            for each in (decoded.facts, facts)
        ]
        refined += facts.kind != decoded.facts.kind
        if [plan and plan.max_pixels for plan in plans] != [plans[0] and plans[0].max_pixels] * 2:
            differing.append((number, decoded.facts.kind, facts.kind, facts.text_height))
    assert refined
    assert all(text_height == 0 for *_, text_height in differing), differing
    assert len(differing) <= 0.03 * 20 * len(DRAWERS), differing
