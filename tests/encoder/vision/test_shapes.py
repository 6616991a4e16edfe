"""Rows equal those of the whole transformers model for any tower shape in the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder_svc.vision.tower import Tower
from fovea.contract.rows import RowDtype
from fovea.geometry import Geometry
from tests import tiny
from tests.encoder.vision.test_tower import pictures, reference_rows, values

SHAPES: dict[str, dict[str, Any]] = {
    "no-deepstack": {"deepstack": ()},
    "one-level": {"deepstack": (3,)},
    "two-levels": {"deepstack": (1, 2)},
    "four-levels": {"deepstack": (0, 1, 2, 3)},
    "levels-out-of-order": {"deepstack": (3, 0, 2)},
    "one-block": {"vision_depth": 1, "deepstack": (0,)},
    "one-head": {"vision": {"num_heads": 1}},
    "heads-of-8": {"vision": {"num_heads": 8}},
    "heads-of-72": {"vision_width": 144, "vision": {"num_heads": 2}},
    "gelu": {"vision": {"hidden_act": "gelu"}},
    "gelu-new": {"vision": {"hidden_act": "gelu_new"}},
    "relu": {"vision": {"hidden_act": "relu"}},
    "silu": {"vision": {"hidden_act": "silu"}},
    "quick-gelu": {"vision": {"hidden_act": "quick_gelu"}},
    "small-learned-grid": {"vision": {"num_position_embeddings": 9}},
    "large-learned-grid": {"vision": {"num_position_embeddings": 1024}},
    "wide-rows": {"text_hidden": 160},
    "wide-mlp": {"vision": {"intermediate_size": 300}},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["moe", "dense"])
def test_a_shape_gives_the_rows_of_the_whole_model(tmp_path: Path, kind: str, shape: str) -> None:
    """1e-5 of values near 1, as for the shape that other tests use."""
    folder = tiny.checkpoint(tmp_path, kind, text_layers=1, **SHAPES[shape])
    tower, images = Tower.load(folder), pictures(Geometry.from_checkpoint(folder))[:3]
    layout = tower.layout(RowDtype.FP32)
    ours = tower.encode(images, RowDtype.FP32)
    for image, data, expected in zip(images, ours, reference_rows(folder, images), strict=True):
        got = values(data.rows, layout)
        assert got.shape == expected.shape == (image.count // 4, layout.values)
        assert np.abs(expected).max() > 0.5
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_the_order_of_levels_matters(tmp_path: Path) -> None:
    """Guards the test above: each level has a merger of its own."""
    rows = []
    for order in ((0, 2, 3), (3, 0, 2)):
        folder = tiny.checkpoint(tmp_path / str(order), deepstack=order, text_layers=1)
        image = pictures(Geometry.from_checkpoint(folder))[0]
        rows.append(
            values(reference_rows(folder, [image])[0].tobytes(), Tower.load(folder).layout(RowDtype.FP32))
        )
    assert not np.allclose(*rows, atol=0.01)
