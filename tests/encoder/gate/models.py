"""Small ONNX models: gates that give the same shares to every image, and models that are no gate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from encoder_svc.gate.gate import KINDS_KEY
from encoder_svc.gate.view import HEIGHT, WIDTH

SIX = "TEXT,TABLE,CHART,DRAWING,PHOTO,BLANK"


def gate_file(
    path: Path,
    shares: Sequence[float],
    kinds: str | None = SIX,
    shape: Sequence[int] = (1, HEIGHT, WIDTH, 3),
    pixel: int = TensorProto.UINT8,
) -> str:
    """Write a model that gives `shares` to every image. `kinds` None leaves its metadata out."""
    constant = numpy_helper.from_array(np.array([shares], np.float32), "constant")
    nodes = [
        helper.make_node("Cast", ["pictures"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["floats"], ["largest"], keepdims=0),
        helper.make_node("Sub", ["largest", "largest"], ["zero"]),
        helper.make_node("Add", ["constant", "zero"], ["shares"]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info("pictures", pixel, list(shape))],
        [helper.make_tensor_value_info("shares", TensorProto.FLOAT, [1, len(shares)])],
        [constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if kinds is not None:
        helper.set_model_props(model, {KINDS_KEY: kinds})
    path.write_bytes(model.SerializeToString())
    return str(path)
