"""Judges the kind of an image: a MobileNetV3-Small on a view, run by onnxruntime on one thread.

A judgement below the least confidence leaves the kind of the rules. BLANK is left to the rules alone: they
see every pixel. A network that cannot be loaded raises GateUnavailable.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoder_svc.gate.view import HEIGHT, WIDTH, view
from fovea.contract.image import ImageFacts, ImageKind
from fovea.planning.detail import GRAPHICS

WEIGHTS = Path(__file__).with_name("model.onnx")
MAX_BYTES = 4 * 1024 * 1024
KINDS_KEY = "kinds"
"""The metadata of the model that names the kind of each output, separated by commas."""
DIGITS = 2
"""Decimals of a confidence: more would differ between processors."""
DOUBTED = 0.8
"""The least confidence of a chart or drawing where rules see a photo, which loses detail if it is planned as
a graphic.
"""
_REFUSALS = "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException"
"""The exceptions of onnxruntime for a model that it does not load. Their only common base is Exception."""
_QUIET = 4  # only fatal errors; the reason of a failure is in its exception


class GateUnavailable(Exception):
    """The network cannot be loaded. The message says why."""


@dataclass(frozen=True)
class GateSettings:
    """The confidence below which rules decide, the model's file, and how its failure is logged."""

    least_confidence: float = 0.5
    path: str = str(WEIGHTS)
    log_form: str = "console"
    log_level: str = "info"


@dataclass(frozen=True)
class Judgement:
    """The most likely kind and its probability."""

    kind: ImageKind
    confidence: float


class Gate:
    """A loaded network. It starts no thread, so a process that has loaded it may fork."""

    def __init__(self, session: Any, kinds: Sequence[ImageKind], least_confidence: float) -> None:
        self._session = session
        self._kinds = kinds
        self._least_confidence = least_confidence

    @classmethod
    def load(cls, settings: GateSettings) -> Gate:
        """Load the network and run it once. Raises GateUnavailable."""
        session = _session(_read(Path(settings.path)))
        gate = cls(session, _kinds(session), settings.least_confidence)
        gate.judge(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        return gate

    def judge(self, rgb: npt.NDArray[np.uint8]) -> Judgement:
        """`rgb` is an image of any size."""
        (shares,) = self._session.run(None, {self._session.get_inputs()[0].name: view(rgb)[None]})
        best = int(shares[0].argmax())
        return Judgement(self._kinds[best], round(float(shares[0, best]), DIGITS))

    def refine(self, rgb: npt.NDArray[np.uint8], facts: ImageFacts) -> ImageFacts:
        """The facts with the kind that the network sees, if it is confident enough."""
        if facts.kind == ImageKind.BLANK:
            return facts
        seen = self.judge(rgb)
        doubted = facts.kind == ImageKind.PHOTO and seen.kind in GRAPHICS
        least = max(DOUBTED, self._least_confidence) if doubted else self._least_confidence
        if seen.kind == ImageKind.BLANK or seen.confidence < least:
            return facts
        return replace(facts, kind=seen.kind, kind_confidence=seen.confidence)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise GateUnavailable(f"{path.name} cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise GateUnavailable(f"{path.name} is larger than {MAX_BYTES} bytes")
    return data


def _session(data: bytes) -> Any:
    """A session of onnxruntime on the CPU with a single thread."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read at import: no reports, and no thread that sends them
    try:
        ort: Any = import_module("onnxruntime")
        state: Any = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    except ImportError as error:
        raise GateUnavailable("onnxruntime is not installed") from error
    ort.set_default_logger_severity(_QUIET)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = _QUIET
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except tuple(getattr(state, name) for name in _REFUSALS) as error:
        raise GateUnavailable("onnxruntime cannot load the model") from error


def _kinds(session: Any) -> list[ImageKind]:
    """The kind of each output. Raises GateUnavailable unless the model maps a view to their shares."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = session.get_modelmeta().custom_metadata_map.get(KINDS_KEY, "").split(",")
    expected = [[1, HEIGHT, WIDTH, 3], "tensor(uint8)"], [[1, len(names)], "tensor(float)"]
    given = [[end.shape, end.type] for end in (*inputs, *outputs)]
    if given != list(expected) or not set(names) <= set(ImageKind):
        raise GateUnavailable(f"the model maps {given} and names {names}, which is no gate")
    return [ImageKind(name) for name in names]
