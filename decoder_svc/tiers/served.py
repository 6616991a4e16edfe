"""A model that this process serves: its checkpoint, its engine, and what answers with it.

A decoder serves its own model, and may serve further models as tiers. Everything here exists before any
weights are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from decoder_svc.admission import Admission, Places
from decoder_svc.answer import Answerer, ModelFacts
from decoder_svc.budget.cost import PrefillCost
from decoder_svc.budget.pressure import Pressure
from decoder_svc.encoders.remote import ExpectedModel
from decoder_svc.engine.protocol import Engine, EngineLimits
from decoder_svc.native_engine.build import NativeSettings
from decoder_svc.native_engine.engine import NativeEngine
from decoder_svc.prompt.builder import PromptBuilder
from decoder_svc.prompt.tools import ToolLimits
from decoder_svc.settings import DecoderLimits, DecoderSettings
from decoder_svc.tiers.timing import DummyEngine
from decoder_svc.vllm_engine.engine import VllmEngine
from decoder_svc.vllm_engine.settings import VllmSettings
from fovea import architecture, generation
from fovea.checkpoint import check_folder, read_notice
from fovea.contract.rows import RowDtype, RowLayout
from fovea.fingerprint import fingerprint
from fovea.geometry import Geometry
from fovea.machine import pick_devices, pick_dtype

Progress = Callable[[int, int], None]
"""Called with the bytes of weights that are loaded, and those in all."""


def kv_bytes_per_token(folder: Path, dtype: RowDtype) -> int:
    """Bytes of keys and values over all layers: 2 * layers * KV heads * head size * bytes per value."""
    text = architecture.load(folder).text_config
    return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * dtype.itemsize


def _native(
    chosen: DecoderSettings, limits: EngineLimits, dtype: RowDtype, progress: Progress
) -> NativeEngine:
    """The engine, not started."""
    own = {
        "checkpoint": chosen.model,
        "dtype": dtype,
        "devices": pick_devices(chosen.device),
        "delta_interval_s": chosen.delta_interval_ms / 1000,
        "limits": limits,
    }
    return NativeEngine(NativeSettings(**chosen.named_in(NativeSettings) | own), progress)


def _vllm(chosen: DecoderSettings, limits: EngineLimits, dtype: RowDtype, progress: Progress) -> VllmEngine:
    """The engine, not started. vLLM reports no progress while it loads."""
    own = {
        "checkpoint": chosen.model,
        "dtype": dtype,
        "kv_token_bytes": kv_bytes_per_token(chosen.model, dtype),
        "limits": limits,
    }
    return VllmEngine(VllmSettings(**chosen.named_in(VllmSettings) | own))


ENGINES: Mapping[str, Callable[[DecoderSettings, DecoderLimits, RowDtype, Progress], Engine]] = {
    "native": _native,
    "vllm": _vllm,
}


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model and what answers with it. `rows` are the rows that its encoders must serve."""

    facts: ModelFacts
    rows: ExpectedModel
    limits: DecoderLimits
    dtype: RowDtype
    engine: Engine
    dummy: DummyEngine
    answerer: Answerer


def build_model(chosen: DecoderSettings, progress: Progress) -> ServedModel:
    """The model of these settings, not started. Reads the vision tensors. Raises CheckpointNotSupported."""
    check_folder(chosen.model)
    config = architecture.load(chosen.model)
    geometry = Geometry.from_checkpoint(chosen.model)
    dtype = pick_dtype(chosen.dtype, chosen.device)
    facts = ModelFacts(
        chosen.model_title,
        chosen.fingerprint or fingerprint(chosen.model),
        geometry,
        kv_bytes_per_token(chosen.model, dtype),
        PrefillCost.of(config.text_config.model_dump()),
        generation.sampling_defaults(chosen.model),
        read_notice(chosen.model),
    )
    builder = PromptBuilder(chosen.model, chosen.max_context)
    vision, limits = config.vision_config, chosen.limits(geometry)
    rows = ExpectedModel(facts.fingerprint, vision.out_hidden_size, len(vision.deepstack_visual_indexes))
    engine = ENGINES[chosen.engine](chosen, limits, dtype, progress)
    dummy = DummyEngine(engine, builder, RowLayout(rows.width, rows.levels, RowDtype.FP32))
    answerer = Answerer(
        engine,
        builder,
        facts,
        limits.max_images,
        Pressure(chosen.pressure_queue, chosen.pressure_kv),
        chosen.tariff,
        Admission(Places.of(limits, several_tenants=chosen.tokens is not None)),
        chosen.shared_rows,
        ToolLimits(limits.max_tools, limits.max_tool_bytes),
    )
    return ServedModel(facts, rows, limits, dtype, engine, dummy, answerer)
