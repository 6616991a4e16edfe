"""Writes the trained gate as ONNX: bytes of a view in, a share for each kind out.

Normalisations are folded into the convolutions before them. Weights are stored in fp16 and computed in fp32,
so the file is half as large and a judgement is the same on every processor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from encoder_svc.gate.gate import KINDS_KEY
from encoder_svc.gate.view import HEIGHT, WIDTH
from standin.gate.network import MEAN, SPREAD, Convolution, Excitation, GateNetwork, Residual
from standin.gate.pictures import KINDS

OPSET, IR_VERSION = 17, 9
ACTIVATIONS = {nn.ReLU: "Relu", nn.Hardswish: "HardSwish"}


class Graph:
    """Nodes and weights in the making. Every method returns the name of what it computes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: np.ndarray) -> str:
        """Floats, stored in fp16."""
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values.astype(np.float16), name))
        return self.node("Cast", name, to=TensorProto.FLOAT)

    def convolution(self, rows: str, weight: np.ndarray, bias: np.ndarray, layer: nn.Conv2d) -> str:
        return self.node(
            "Conv",
            rows,
            self.constant(weight),
            self.constant(bias),
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[*layer.padding, *layer.padding],
            group=layer.groups,
        )

    def add(self, module: nn.Module, rows: str) -> str:
        """The nodes of a module of the network."""
        if isinstance(module, Convolution):
            return self._normalised(module, rows)
        if isinstance(module, Excitation):
            return self._excited(module, rows)
        if isinstance(module, Residual):
            narrowed = self.add(module.block, rows)
            return self.node("Add", rows, narrowed) if module.added else narrowed
        if isinstance(module, nn.Sequential):
            for part in module:
                rows = self.add(part, rows)
            return rows
        if isinstance(module, nn.Linear):
            return self.node(
                "Gemm",
                rows,
                self.constant(_values(module.weight)),
                self.constant(_values(module.bias)),
                transB=1,
            )
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return self.node("GlobalAveragePool", rows)
        if isinstance(module, nn.Dropout):
            return rows
        return self.node(ACTIVATIONS[type(module)], rows)

    def _normalised(self, module: Convolution, rows: str) -> str:
        layer, norm = module[0], module[1]
        scale = _values(norm.weight) / np.sqrt(_values(norm.running_var) + norm.eps)
        weight = _values(layer.weight) * scale[:, None, None, None]
        rows = self.convolution(rows, weight, _values(norm.bias) - _values(norm.running_mean) * scale, layer)
        return self.add(module[2], rows) if len(module) > 2 else rows

    def _excited(self, module: Excitation, rows: str) -> str:
        weighed = self.node("GlobalAveragePool", rows)
        weighed = self.convolution(weighed, _values(module.fc1.weight), _values(module.fc1.bias), module.fc1)
        weighed = self.node("Relu", weighed)
        weighed = self.convolution(weighed, _values(module.fc2.weight), _values(module.fc2.bias), module.fc2)
        return self.node("Mul", rows, self.node("HardSigmoid", weighed, alpha=1 / 6, beta=0.5))


def _values(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def write_onnx(network: GateNetwork, path: Path) -> None:
    """Write the network, in evaluation mode, with the names of its kinds."""
    graph = Graph()
    rows = graph.node("Cast", "pictures", to=TensorProto.FLOAT)
    rows = graph.node("Transpose", rows, perm=[0, 3, 1, 2])
    rows = graph.node(
        "Div", graph.node("Sub", rows, graph.constant(np.array(MEAN))), graph.constant(np.array(SPREAD))
    )
    rows = graph.add(network.features, rows)
    rows = graph.node("Flatten", graph.add(network.avgpool, rows), axis=1)
    graph.nodes.append(helper.make_node("Softmax", [graph.add(network.classifier, rows)], ["shares"], axis=1))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "gate",
            [helper.make_tensor_value_info("pictures", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])],
            [helper.make_tensor_value_info("shares", TensorProto.FLOAT, [1, len(KINDS)])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fovea",
    )
    helper.set_model_props(model, {KINDS_KEY: ",".join(KINDS)})
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
