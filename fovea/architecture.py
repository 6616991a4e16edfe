"""Typed values of config.json and preprocessor_config.json: what the arithmetic of a checkpoint depends on.

A field that changes the computation is either honoured or has a single supported value. A checkpoint with
another value, or without a required field, is refused at start; the error names file and field. Fields
without effect (dropout, initializer range) are ignored. Independent of torch and transformers: services check
a checkpoint before they load it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from fovea.checkpoint import read_json
from fovea.contract.errors import CheckpointNotSupported
from fovea.fingerprint import model_type

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"
GENERATION = "generation_config.json"

HALVES = [0.5, 0.5, 0.5]

Count = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class CheckpointFields(BaseModel):
    """Values exactly as in the file: nothing is converted, unlisted fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Rope(CheckpointFields):
    """How text positions become angles.

    `dynamic` and `longrope` are not served: they depend on the longest sequence of a batch, so an answer
    would depend on its neighbours.
    """

    rope_type: Literal["default", "yarn"] = Field(
        "default", validation_alias=AliasChoices("rope_type", "type")
    )
    rope_theta: Positive | None = None
    mrope_section: tuple[Index, Index, Index] = Field(strict=False)
    mrope_interleaved: Literal[True]
    partial_rotary_factor: Literal[1, None] = None
    factor: Positive | None = None
    original_max_position_embeddings: Count | None = None
    attention_factor: Positive | None = None
    beta_fast: Positive | None = None
    beta_slow: Positive | None = None
    mscale: Positive | None = None
    mscale_all_dim: Positive | None = None
    truncate: bool | None = None

    @model_validator(mode="after")
    def _has_its_factor(self) -> Rope:
        return _require(self, self.rope_type == "default" or self.factor is not None, "factor", "is missing")


class TextConfig(CheckpointFields):
    """The dense language model."""

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    head_dim: Annotated[int, Field(ge=2, multiple_of=2)]
    vocab_size: Count
    max_position_embeddings: Count
    rms_norm_eps: Positive
    hidden_act: Literal["silu"]
    attention_bias: Literal[False] = False
    rope_theta: Positive | None = None
    rope_parameters: Rope = Field(validation_alias=AliasChoices("rope_scaling", "rope_parameters"))
    partial_rotary_factor: Literal[1, None] = None
    layer_types: list[Literal["full_attention"]] | None = None
    use_sliding_window: Literal[False, None] = None
    sliding_window: int | None = None
    eos_token_id: Index | list[Index] | None = None
    quantization_config: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> TextConfig:
        kv, section = self.num_key_value_heads, self.rope_parameters.mrope_section
        grouped = self.num_attention_heads % kv == 0
        _require(self, grouped, "num_attention_heads", f"must be a multiple of num_key_value_heads, {kv}")
        halves = f"is {list(section)}; it must add up to half of head_dim, {self.head_dim // 2}"
        _require(self, sum(section) == self.head_dim // 2, "rope_scaling.mrope_section", halves)
        thetas = {self.rope_theta, self.rope_parameters.rope_theta} - {None}
        _require(self, len(thetas) == 1, "rope_theta", f"has {len(thetas)} values; it must have one")
        full_attention = self.sliding_window is None or self.use_sliding_window is False
        return _require(
            self, full_attention, "sliding_window", "is set; attention over a window is not served"
        )

    @property
    def theta(self) -> float:
        """The base of the rotary frequencies, in either place of the file."""
        return next(theta for theta in (self.rope_parameters.rope_theta, self.rope_theta) if theta)


class MoeText(TextConfig):
    """The language model with experts in some or all layers."""

    num_experts: Count = Field(validation_alias=AliasChoices("num_experts", "num_local_experts"))
    num_experts_per_tok: Count
    moe_intermediate_size: Count
    decoder_sparse_step: Count = 1
    mlp_only_layers: list[int] | None = None
    norm_topk_prob: Literal[True] = True

    def mixes(self, layer: int) -> bool:
        """Whether a layer, counted from 0, has experts."""
        return layer not in (self.mlp_only_layers or ()) and (layer + 1) % self.decoder_sparse_step == 0

    @model_validator(mode="after")
    def _has_enough_experts(self) -> MoeText:
        enough = self.num_experts_per_tok <= self.num_experts
        return _require(self, enough, "num_experts_per_tok", f"is above num_experts, {self.num_experts}")


class VisionRope(CheckpointFields):
    """Written by transformers 5. Older files omit it; only these values are possible."""

    rope_type: Literal["axial", "default"] = "axial"
    rope_theta: Literal[10_000, None] = None


class Vision(CheckpointFields):
    """The vision tower."""

    depth: Count
    hidden_size: Count
    hidden_act: Literal["gelu_pytorch_tanh", "gelu_new", "gelu", "quick_gelu", "silu", "relu"]
    intermediate_size: Count
    num_heads: Count
    in_channels: Literal[3]
    patch_size: Count
    spatial_merge_size: Count
    temporal_patch_size: Count
    out_hidden_size: Count
    num_position_embeddings: Count
    deepstack_visual_indexes: list[Index]
    rope_parameters: VisionRope | None = None
    rope_scaling: None = None
    rope_theta: Literal[10_000, None] = None
    head_dim: int | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Vision:
        width, indexes = self.hidden_size // self.num_heads, self.deepstack_visual_indexes
        rotatable = self.hidden_size % self.num_heads == 0 and width % 4 == 0
        _require(self, rotatable, "num_heads", "must divide hidden_size into heads of a multiple of 4")
        _require(
            self, self.head_dim in (None, width), "head_dim", f"must be hidden_size / num_heads, {width}"
        )
        square = math.isqrt(self.num_position_embeddings) ** 2 == self.num_position_embeddings
        _require(self, square, "num_position_embeddings", "must be a square")
        distinct = len(set(indexes)) == len(indexes) and all(index < self.depth for index in indexes)
        what = f"is {indexes}; it must name distinct ones of the {self.depth} blocks"
        return _require(self, distinct, "deepstack_visual_indexes", what)


class Architecture(CheckpointFields):
    """config.json of a Qwen3-VL checkpoint."""

    model_type: Literal["qwen3_vl", "qwen3_vl_moe"]
    image_token_id: Index
    video_token_id: Index
    vision_start_token_id: Index
    vision_end_token_id: Index
    tie_word_embeddings: bool = False
    text_config: TextConfig
    vision_config: Vision
    quantization_config: dict[str, Any] | None = None

    @property
    def quantized(self) -> bool:
        """Whether the language model's weights use a library's quantization format with scales."""
        return bool(self.quantization_config or self.text_config.quantization_config)

    @model_validator(mode="after")
    def _fits_together(self) -> Architecture:
        rows, hidden = self.vision_config.out_hidden_size, self.text_config.hidden_size
        what = f"is {rows}; it must be text_config.hidden_size, {hidden}"
        _require(self, rows == hidden, "vision_config.out_hidden_size", what)
        for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
            size, token = self.text_config.vocab_size, getattr(self, name)
            _require(self, token < size, name, f"is {token}; it must be below text_config.vocab_size, {size}")
        return self


class _MoeArchitecture(Architecture):
    text_config: MoeText


class Processor(CheckpointFields):
    """preprocessor_config.json: how pixels become the tower's input. `fovea.geometry` reads the sizes."""

    patch_size: Count
    merge_size: Count
    temporal_patch_size: Count
    image_mean: list[float]
    image_std: list[float]
    do_resize: Literal[True] = True
    resample: Literal[3] = 3  # bicubic
    do_rescale: Literal[True] = True
    rescale_factor: float = 1 / 255
    do_normalize: Literal[True] = True
    do_convert_rgb: Literal[True] = True
    image_processor_type: Literal[
        "Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil", None
    ] = None

    @model_validator(mode="after")
    def _normalizes_to_plus_minus_one(self) -> Processor:
        for name in ("image_mean", "image_std"):
            values = getattr(self, name)
            _require(self, values == HALVES, name, f"is {values}; it must be {HALVES}")
        same = math.isclose(self.rescale_factor, 1 / 255, rel_tol=1e-9)
        return _require(self, same, "rescale_factor", f"is {self.rescale_factor}; it must be 1/255")


def load(directory: Path | str) -> Architecture:
    """Read and check config.json. Raises CheckpointNotSupported."""
    moe = model_type(directory) == "qwen3_vl_moe"
    return read_fields(_MoeArchitecture if moe else Architecture, read_json(directory, CONFIG), CONFIG)


def check_processor(directory: Path | str) -> None:
    """Raises CheckpointNotSupported if preprocessing or patch sizes differ from what is implemented."""
    vision = load(directory).vision_config
    processor = read_fields(Processor, read_json(directory, PROCESSOR), PROCESSOR)
    for field, name in (
        ("patch_size", "patch_size"),
        ("merge_size", "spatial_merge_size"),
        ("temporal_patch_size", "temporal_patch_size"),
    ):
        actual, expected = getattr(processor, field), getattr(vision, name)
        if actual != expected:
            raise CheckpointNotSupported(
                f"{PROCESSOR}: {field} is {actual}, but vision_config.{name} of {CONFIG} is {expected}",
                file=PROCESSOR,
                field=field,
                actual=actual,
                supported=expected,
            )


def eos_ids(directory: Path | str, architecture: Architecture) -> tuple[int, ...]:
    """The ids that end an answer.

    generation_config.json takes precedence over the text config, as in `generate`.
    """
    value: Any = architecture.text_config.eos_token_id
    file, field = CONFIG, "text_config.eos_token_id"
    if (Path(directory) / GENERATION).is_file():
        override = read_json(directory, GENERATION).get("eos_token_id")
        if override is not None:
            value, file, field = override, GENERATION, "eos_token_id"
    ids = value if isinstance(value, list) else [value]
    size = architecture.text_config.vocab_size
    if not ids or not all(type(token) is int and 0 <= token < size for token in ids):
        raise CheckpointNotSupported(
            f"{file}: {field} is {value!r}; it must name token ids below {size}",
            file=file,
            field=field,
            actual=value,
        )
    return tuple(ids)


F = TypeVar("F", bound=CheckpointFields)


def _require(fields: F, valid: bool, field: str, what: str) -> F:
    """Return `fields` if `valid`, otherwise raise a validation error for `field`."""
    if not valid:
        raise PydanticCustomError("unserved", "{what}", {"field": field, "what": what})
    return fields


def read_fields(kind: type[F], fields: Mapping[str, Any], file: str) -> F:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _refusal(file, error) from error


def _refusal(file: str, error: ValidationError) -> CheckpointNotSupported:
    """The first validation error in a single line."""
    first = error.errors(include_url=False)[0]
    path, context = [str(part) for part in first["loc"]], first.get("ctx", {})
    if first["type"] == "unserved":
        field = ".".join([*path, context["field"]])
        return CheckpointNotSupported(f"{file}: {field} {context['what']}", file=file, field=field)
    field = ".".join(path)
    if first["type"] == "missing":
        return CheckpointNotSupported(f"{file} lacks {field}", file=file, field=field)
    actual, rule = f"{first['input']!r}"[:80], first["msg"].removeprefix("Input should be ")
    if first["type"] == "model_type":
        rule = "a JSON object"
    return CheckpointNotSupported(
        f"{file}: {field} is {actual}; it must be {rule}",
        file=file,
        field=field,
        actual=actual,
        supported=rule,
    )
