"""Unsupported or incomplete checkpoint configurations are refused by file and field, in a single line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import decoder_svc.app
import encoder_svc.app
from bench.gpu import PUBLISHED
from decoder_svc.prompt.builder import PromptBuilder
from fovea import architecture
from fovea.contract.errors import CheckpointNotSupported
from fovea.geometry import Geometry
from standin import model_dir
from tests import tiny

pytestmark = pytest.mark.timeout(60)
MISSING = object()
CONFIG, PROCESSOR, GENERATION = "config.json", "preprocessor_config.json", "generation_config.json"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("original"), "moe")


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


def set_field(folder: Path, file: str, path: str, value: object) -> None:
    config = json.loads((folder / file).read_text())
    *parents, last = path.split(".")
    inner = config
    for name in parents:
        inner = inner[name]
    if value is MISSING:
        del inner[last]
    else:
        inner[last] = value
    (folder / file).write_text(json.dumps(config))


REQUIRED = [
    *("text_config", "vision_config", "image_token_id", "video_token_id", "vision_start_token_id"),
    *("vision_end_token_id", "text_config.rope_scaling", "text_config.rope_scaling.mrope_section"),
    "text_config.rope_scaling.mrope_interleaved",
    *(
        f"text_config.{name}"
        for name in (
            "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "head_dim", "vocab_size", "max_position_embeddings", "rms_norm_eps", "hidden_act", "num_experts",
            "num_experts_per_tok", "moe_intermediate_size",
        )
    ),
    *(
        f"vision_config.{name}"
        for name in (
            "depth", "hidden_size", "hidden_act", "intermediate_size", "num_heads", "in_channels", "patch_size",
            "spatial_merge_size", "temporal_patch_size", "out_hidden_size", "num_position_embeddings",
            "deepstack_visual_indexes",
        )
    ),
]  # fmt: skip
UNSERVED = [
    ("text_config.attention_bias", True),
    ("text_config.hidden_act", "gelu"),
    ("text_config.hidden_act", None),
    ("text_config.norm_topk_prob", False),
    ("text_config.decoder_sparse_step", 0),
    ("text_config.num_experts_per_tok", 9),
    ("text_config.num_experts", 0),
    ("text_config.num_attention_heads", 3),
    ("text_config.head_dim", 15),
    ("text_config.head_dim", "16"),
    ("text_config.hidden_size", -64),
    ("text_config.hidden_size", 64.0),
    ("text_config.rms_norm_eps", "1e-6"),
    ("text_config.rms_norm_eps", 0.0),
    ("text_config.rms_norm_eps", float("nan")),
    ("text_config.rope_theta", 0),
    ("text_config.layer_types", ["full_attention", "sliding_attention"]),
    ("text_config.sliding_window", 4096),
    ("text_config.use_sliding_window", True),
    ("text_config.partial_rotary_factor", 0.5),
    ("text_config.rope_scaling.rope_type", "dynamic"),
    ("text_config.rope_scaling.rope_type", "longrope"),
    ("text_config.rope_scaling.rope_type", "unheard"),
    ("text_config.rope_scaling.mrope_interleaved", False),
    ("text_config.rope_scaling.mrope_section", [4, 2, 3]),
    ("text_config.rope_scaling.mrope_section", "422"),
    ("text_config.rope_scaling.partial_rotary_factor", 0.25),
    ("vision_config.hidden_act", "no_such_act"),
    ("vision_config.in_channels", 1),
    ("vision_config.num_heads", 5),
    ("vision_config.num_position_embeddings", 255),
    ("vision_config.head_dim", 8),
    ("vision_config.out_hidden_size", 32),
    ("vision_config.patch_size", [16, 16]),
    ("vision_config.deepstack_visual_indexes", [0, 1, 4]),
    ("vision_config.deepstack_visual_indexes", [0, 1, 1]),
    ("vision_config.deepstack_visual_indexes", [-1]),
    ("vision_config.deepstack_visual_indexes", 3),
    ("vision_config.rope_theta", 500),
    ("vision_config.rope_parameters", {"rope_type": "axial", "rope_theta": 500.0}),
    ("text_config", []),
    ("vision_config", "none"),
    ("image_token_id", 10**6),
    ("image_token_id", None),
    ("video_token_id", True),
    ("tie_word_embeddings", "yes"),
]


@pytest.mark.parametrize("field", REQUIRED)
def test_a_missing_field_is_named(folder: Path, field: str) -> None:
    set_field(folder, CONFIG, field, MISSING)
    check(folder, CONFIG, field)


@pytest.mark.parametrize(("field", "value"), UNSERVED)
def test_a_value_that_is_not_served_is_named(folder: Path, field: str, value: object) -> None:
    set_field(folder, CONFIG, field, value)
    check(folder, CONFIG, field)


def check(folder: Path, file: str, field: str) -> None:
    """Both services refuse it before they load anything, naming file and field in a single line."""
    with pytest.raises(CheckpointNotSupported) as caught:
        architecture.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(file)
    assert caught.value.metadata["file"] == file
    reported = caught.value.metadata["field"]
    assert reported == field or reported.startswith(f"{field}.")
    assert reported in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("do_resize", False), ("do_rescale", False), ("do_normalize", False), ("do_convert_rgb", False),
        ("resample", 2), ("resample", "bicubic"), ("rescale_factor", 1 / 127.5), ("rescale_factor", 1),
        ("image_mean", [0.48, 0.46, 0.41]), ("image_mean", [0.5]), ("image_mean", MISSING), ("image_std", 0.5),
        ("image_std", [0.5, 0.5, 0.25]), ("patch_size", 14), ("patch_size", MISSING), ("merge_size", 4),
        ("merge_size", "2"), ("temporal_patch_size", 1), ("image_processor_type", "CLIPImageProcessor"),
    ],
)  # fmt: skip
def test_other_preprocessing_is_refused_by_field(folder: Path, field: str, value: object) -> None:
    set_field(folder, PROCESSOR, field, value)
    with pytest.raises(CheckpointNotSupported) as caught:
        architecture.check_processor(folder)
    assert (caught.value.metadata["file"], caught.value.metadata["field"]) == (PROCESSOR, field)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "size", [{}, {"shortest_edge": 1}, {"shortest_edge": 0, "longest_edge": 9}, 5, None, []]
)
def test_invalid_sizes_are_refused(folder: Path, size: object) -> None:
    set_field(folder, PROCESSOR, "size", size)
    with pytest.raises(CheckpointNotSupported, match=PROCESSOR):
        Geometry.from_checkpoint(folder)


def test_a_minimum_size_above_the_maximum_is_refused(folder: Path) -> None:
    set_field(folder, PROCESSOR, "size", {"shortest_edge": 8192, "longest_edge": 4096})
    with pytest.raises(CheckpointNotSupported, match="shortest_edge"):
        Geometry.from_checkpoint(folder)


@pytest.mark.parametrize("eos_token_id", ["2", [], [1, "2"], -1, 10**9, True, [1.0], {}])
def test_invalid_end_tokens_are_refused(folder: Path, eos_token_id: object) -> None:
    set_field(folder, GENERATION, "eos_token_id", eos_token_id)
    with pytest.raises(CheckpointNotSupported, match=r"generation_config.json: eos_token_id"):
        architecture.eos_ids(folder, architecture.load(folder))


@pytest.mark.parametrize("value", [None, MISSING])
def test_without_end_tokens_in_the_generation_config_those_of_the_text_config_hold(
    folder: Path, value: object
) -> None:
    set_field(folder, GENERATION, "eos_token_id", value)
    expected = json.loads((folder / CONFIG).read_text())["text_config"]["eos_token_id"]
    assert architecture.eos_ids(folder, architecture.load(folder)) == (expected,)
    set_field(folder, CONFIG, "text_config.eos_token_id", MISSING)
    with pytest.raises(CheckpointNotSupported, match=r"config.json: text_config.eos_token_id"):
        architecture.eos_ids(folder, architecture.load(folder))


def test_published_and_resaved_configs_are_supported(original: Path, tmp_path: Path) -> None:
    from transformers import Qwen3VLMoeConfig

    (tmp_path / CONFIG).write_text(json.dumps(json.loads(PUBLISHED.read_text())))
    before = architecture.load(tmp_path)
    saved = tmp_path / "saved"
    Qwen3VLMoeConfig.from_pretrained(tmp_path).save_pretrained(saved)
    after = architecture.load(saved)
    assert after.text_config.rope_parameters.rope_theta == before.text_config.rope_theta == 5_000_000
    for loaded in (before, after):
        assert loaded.text_config.head_dim == 128
        assert loaded.vision_config.deepstack_visual_indexes == [8, 16, 24]
    for folder in (original, model_dir()):
        architecture.check_processor(folder)


def spoilt(field: str, value: object, file: str = CONFIG) -> Callable[[Path], object]:
    return lambda folder: set_field(folder, file, field, value)


def written(file: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_text(text)


def removed(file: str) -> Callable[[Path], object]:
    return lambda folder: (folder / file).unlink()


def without_tokens(folder: Path) -> None:
    set_field(folder, "tokenizer.json", "model.vocab", {})
    set_field(folder, "tokenizer.json", "model.merges", [])


DAMAGE = [
    (spoilt("text_config", MISSING), "config.json lacks text_config"),
    (spoilt("vision_config", MISSING), "config.json lacks vision_config"),
    (spoilt("vision_config.deepstack_visual_indexes", MISSING), "deepstack_visual_indexes"),
    (spoilt("text_config.num_hidden_layers", None), "text_config.num_hidden_layers"),
    (spoilt("size", {}, PROCESSOR), PROCESSOR),
    (written(CONFIG, "[]"), "config.json"),
    (written(CONFIG, "{"), "config.json"),
    (written(CONFIG, "[" * 100_000), "config.json"),
    (written(CONFIG, ""), "config.json"),
    (removed(CONFIG), "config.json"),
    (removed(PROCESSOR), PROCESSOR),
    (written(PROCESSOR, "null"), PROCESSOR),
    (removed("model.safetensors"), "model.safetensors"),
    (written("model.safetensors.index.json", "{}"), "weight_map"),
    (written("model.safetensors.index.json", '{"weight_map": {"a": 5}}'), "weight_map"),
    (written("model.safetensors.index.json", '{"weight_map": {"a": "../b"}}'), "weight_map"),
]
OF_THE_DECODER = [
    (written(GENERATION, "[]"), GENERATION),
    (spoilt("eos_token_id", [], GENERATION), GENERATION),
    (written("tokenizer.json", "{}"), "tokenizer.json"),
    (written("tokenizer.json", ""), "tokenizer.json"),
    (written("tokenizer.json", "[1]"), "tokenizer.json"),
    (written("tokenizer.json", '{"model": 7}'), "tokenizer.json"),
    (removed("tokenizer.json"), "tokenizer.json"),
    (without_tokens, "tokenizer.json"),
    (spoilt("model.type", "Nothing", "tokenizer.json"), "tokenizer.json"),
    (spoilt("text_config.vocab_size", 369), "tokenizer.json has the id"),
    (written("tokenizer_config.json", "{"), "tokenizer_config.json"),
    (removed("chat_template.jinja"), "chat template"),
]


@pytest.mark.parametrize(
    ("service", "damage", "names"),
    [("encoder", *damage) for damage in DAMAGE]
    + [("decoder", *damage) for damage in DAMAGE + OF_THE_DECODER],
)
def test_a_service_ends_with_a_clear_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    damage: Callable[[Path], object],
    names: str,
) -> None:
    damage(folder)
    app: Any = {"encoder": encoder_svc.app, "decoder": decoder_svc.app}[service]
    for name in ("logs.configure", "keep_freed_memory", "log.info"):  # of the whole process
        monkeypatch.setattr(f"{app.__name__}.{name}", lambda *a, **k: None)
    flags = ["--model", str(folder), "--listen", "127.0.0.1:0", "--metrics-listen", ""]
    flags += ["--encoders", "127.0.0.1:9"] if service == "decoder" else ["--cache-dir", str(folder / "cache")]
    with pytest.raises(SystemExit) as ended:
        app.main(flags)
    line = capsys.readouterr().err
    assert ended.value.code == 1
    assert line.startswith(f"{service}: ")
    assert names in line
    assert line.count("\n") == 1


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder: Path) -> None:
    set_field(folder, CONFIG, "text_config.vocab_size", 369)
    with pytest.raises(CheckpointNotSupported, match="vocab_size") as caught:
        PromptBuilder(folder)
    assert caught.value.metadata["limit"] == "369"
