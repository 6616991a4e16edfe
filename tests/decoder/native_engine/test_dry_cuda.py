"""The decoder's step on CUDA without a GPU: every tensor has the right device and dtype, and nothing blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

from decoder_svc.engine.clock import RequestClock
from decoder_svc.engine.protocol import EngineRequest, ImageSpan, Prompt, Quantization, Sampling
from decoder_svc.engine.row_buffer import RowBuffer
from decoder_svc.model import attention as attention_module
from decoder_svc.model.attention import FlashAttention, GatheredAttention, VarlenAttention
from decoder_svc.model.batch import Batch
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.model.graphs import DecodeGraphs, Recorded
from decoder_svc.model.text import TextDecoder
from decoder_svc.native_engine.batch import make_batch
from decoder_svc.native_engine.request_state import RequestState
from decoder_svc.native_engine.scheduler import StepChunk
from decoder_svc.sampling import sampler
from decoder_svc.sampling.state import SamplerState
from fovea.contract.rows import RowDtype, RowLayout
from tests import tiny
from tests.dry_cuda import CUDA, MixedDevices, MixedDtypes, dry_cuda

pytestmark = pytest.mark.long
WIDTH, LEVELS, BLOCKS = 64, 3, 40
CPU = torch.device("cpu")
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class EmptyCheckpoint(Checkpoint):
    """Shapes without values, on the CPU as if read from the file."""

    def read(self, name: str) -> torch.Tensor:
        return torch.empty(self.shape(name), dtype=torch.bfloat16)


def flash(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **others: Any) -> torch.Tensor:
    """Replaces a kernel of a package that is not installed. Requires arguments of the same device and dtype."""
    tensors = [q, k, v, others["cu_seqlens_q"], others["cu_seqlens_k"], others["block_table"]]
    assert {t.device for t in tensors} == {q.device}
    assert q.dtype == k.dtype == v.dtype
    assert {t.dtype for t in tensors[3:]} == {torch.int32}
    return torch.empty_like(q)


def made(kind: type[Any]) -> Any:
    """An attention; that of the package with `flash` for its kernel."""
    if kind is not FlashAttention:
        return kind()
    attention = FlashAttention.__new__(FlashAttention)
    attention._kernel = flash
    return attention


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("dry")
    # Heads of 64: kernels on a GPU take no fewer than 8 and multiples of 8.
    mixed = {"text": {"mlp_only_layers": [1]}}
    return {
        "moe": tiny.checkpoint(root / "moe", "moe", head_dim=64, **mixed),
        "dense": tiny.checkpoint(root / "dense", "dense", head_dim=64),
    }


@pytest.fixture(autouse=True)
def _no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables the check of weights at start, which compares values."""
    monkeypatch.setattr("decoder_svc.model.load._check_finite", lambda *a: None, raising=False)
    # Newer torch asks the driver which kernel takes decodes.
    monkeypatch.setattr("torch.nn.attention.varlen._cudnn_decode_disabled", lambda index: True, raising=False)


def decoder(
    folder: Path,
    dtype: torch.dtype = torch.bfloat16,
    kind: type[Any] = GatheredAttention,
    quantization: Quantization = "none",
) -> TextDecoder:
    attention = made(kind)
    model = TextDecoder(EmptyCheckpoint(folder), dtype, [CUDA], attention, quantization)
    model.allocate(BLOCKS, attention.block_size)
    return model


def state(
    tokens: int, first_block: int, images: tuple[tuple[int, int], ...], layout: RowLayout
) -> RequestState:
    """`images` are (start, rows)."""
    spans = tuple(ImageSpan(start, (1, 2, 2 * rows), rows) for start, rows in images)
    prompt = Prompt(np.zeros(tokens, np.int32), np.zeros((3, tokens), np.int32), tokens, spans)
    request = EngineRequest(f"from {first_block}", prompt, Sampling(max_new_tokens=8))
    sampler_state = SamplerState(request.sampling, 400, prompt.token_ids)
    text: Any = None
    made = RequestState(
        request,
        tuple(RowBuffer(span, layout, RowDtype.FP32) for span in spans),
        text,
        sampler_state,
        RequestClock(0.0),
        print,
    )
    made.table = list(range(first_block, first_block + 5))
    return made


def step(block_size: int, row_dtype: RowDtype = RowDtype.BF16) -> Batch:
    """Two decodes of different lengths, a prompt with an image and a cached prefix, another prompt; built like the worker does."""
    layout = RowLayout(WIDTH, LEVELS, row_dtype)
    plain = [state(70, 5, (), layout), state(12, 10, (), layout), state(9, 15, (), layout)]
    seen = state(40, 20, ((12, 8),), layout)
    chunks = [
        StepChunk(plain[0], 69, 1),
        StepChunk(plain[1], 11, 1),
        StepChunk(seen, 10, 30),
        StepChunk(plain[2], 0, 9),
    ]
    return make_batch(chunks, block_size, BLOCKS - 1)


def logits_of(output: Any) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.logits


ATTENTIONS = [GatheredAttention, VarlenAttention, FlashAttention]


@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("model", ["moe", "dense"])
def test_a_step_stays_on_its_device(
    folders: dict[str, Path], model: str, dtype: str, kind: type[Any]
) -> None:
    if dtype == "fp32" and kind is not GatheredAttention:
        pytest.skip("flash attention is never chosen for fp32")
    with dry_cuda():
        text = decoder(folders[model], DTYPES[dtype], kind)
        out = logits_of(text.forward(step(kind.block_size)))
        assert (out.device, out.dtype, out.shape[0]) == (CUDA, torch.float32, 4)
        assert {pages.kv.device for pages in text._pages} == {CUDA}
        text.copy(3, 4, 2)


@pytest.mark.parametrize("row_dtype", list(RowDtype))
def test_rows_of_every_dtype_are_unpacked_on_the_device(
    folders: dict[str, Path], row_dtype: RowDtype
) -> None:
    with dry_cuda():
        text = decoder(folders["moe"])
        assert logits_of(text.forward(step(GatheredAttention.block_size, row_dtype))).device == CUDA


@pytest.mark.parametrize("model", ["moe", "dense"])
def test_weights_in_int8_stay_on_the_device(folders: dict[str, Path], model: str) -> None:
    with dry_cuda():
        text = decoder(folders[model], quantization="int8")
        assert logits_of(text.forward(step(GatheredAttention.block_size))).device == CUDA


@pytest.mark.parametrize("kind", [VarlenAttention, FlashAttention])
def test_recorded_decodes_read_and_write_tensors_of_the_device(
    folders: dict[str, Path], kind: type[Any]
) -> None:
    """A CUDA graph without the recording. Machines with a GPU record a real graph."""

    class Replayed:
        def replay(self) -> None: ...

    with dry_cuda() as strict, strict.copying():
        text = decoder(folders["moe"], kind=kind)
        graphs = DecodeGraphs(text.forward, CUDA, 2, kind.block_size, spare=BLOCKS - 1)
        blank = graphs._blank(4)
        graphs._recorded[4] = Recorded(Replayed(), blank, text.forward(blank))  # type: ignore[arg-type]
        sample = graphs.sample(3)
        assert graphs.fits(sample)
        assert logits_of(graphs(sample)).shape[0] == 3
        assert logits_of(text.forward(sample)).device == CUDA


SAMPLED = (
    Sampling(),
    Sampling(temperature=0.7, repetition_penalty=1.2, logprobs=True),
    Sampling(temperature=1.0, top_k=5, top_p=0.9),
    Sampling(temperature=1.0, top_p=0.5, min_p=0.1, logprobs=True, top_logprobs=20),
    Sampling(presence_penalty=1.5, frequency_penalty=0.5, logit_bias={7: -100.0, 9: 1.0}),
)


@pytest.fixture
def values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only values that sampling reads: whether few tokens suffice, and the sampled tokens."""
    monkeypatch.setattr(FakeTensor, "__bool__", lambda self: True, raising=False)
    monkeypatch.setattr(FakeTensor, "tolist", lambda self: np.zeros(tuple(self.shape), int).tolist())


def sample_dry(vocabulary: int = 2000) -> None:
    class Held:
        """A format that allows all."""

        failure = None

        def advance(self, token: int) -> None: ...

    prompt = np.arange(3, dtype=np.int32)
    states = [SamplerState(s, vocabulary, prompt) for s in SAMPLED]
    states += [SamplerState(s, vocabulary, prompt, Held()) for s in SAMPLED[:2]]  # type: ignore[arg-type]
    for token in (4, 5):  # a tensor of a single value would keep it
        states[-3].saw(token)
    tokens = sampler.sample(torch.empty(len(states), vocabulary, device=CUDA), states)
    assert len(tokens) == len(states)


@pytest.fixture
def formats(monkeypatch: pytest.MonkeyPatch) -> None:
    def allowed(grammars: list[Any], size: int) -> np.ndarray:
        return np.full((len(grammars), -(-size // 32)), -1, np.int32)

    monkeypatch.setattr("decoder_svc.sampling.grammar.allowed", allowed)


@pytest.mark.usefixtures("values", "formats")
def test_sampling_stays_on_the_device() -> None:
    with dry_cuda():
        sample_dry()


# Mix-ups that this must find, planted one at a time in a model that is otherwise right.


def leave(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Batch.to forgets a tensor."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        whole = Batch.to
        monkeypatch.setattr(
            Batch, "to", lambda self, device: replace(whole(self, device), **{name: getattr(self, name)})
        )

    return plant


def leave_of_plan(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        kind = attention_module.AttentionPlan
        whole = kind.to
        monkeypatch.setattr(
            kind, "to", lambda self, device: replace(whole(self, device), **{name: getattr(self, name)})
        )

    return plant


def spoil(change: Callable[[TextDecoder], object]) -> Callable[[pytest.MonkeyPatch], None]:
    """Changes the decoder after loading."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        allocate = TextDecoder.allocate

        def spoilt(self: TextDecoder, blocks: int, block_size: int) -> None:
            allocate(self, blocks, block_size)
            change(self)

        monkeypatch.setattr(TextDecoder, "allocate", spoilt)

    return plant


def rows_to(device: torch.device) -> Callable[[pytest.MonkeyPatch], None]:
    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        from decoder_svc.model.unpack import unpack

        monkeypatch.setattr(
            "decoder_svc.model.text.unpack",
            lambda data, layout, dtype: unpack(data, layout, dtype).to(device),
        )

    return plant


def set_on(path: str, change: Callable[[Any], Any]) -> Callable[[TextDecoder], object]:
    """Change an attribute of the first layer, or of the decoder itself if the path begins with a dot."""

    def apply(model: TextDecoder) -> None:
        owner: Any = model if path.startswith(".") else model._layers[0]
        *parents, last = path.lstrip(".").split(".")
        for name in parents:
            owner = getattr(owner, name)
        setattr(owner, last, change(getattr(owner, last)))

    return apply


def to_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(CPU)


def wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float()


def pages(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[TextDecoder], object]:
    def apply(model: TextDecoder) -> None:
        model._pages = [replace(tensor, kv=change(tensor.kv)) for tensor in model._pages]

    return apply


MIX_UPS: dict[str, tuple[type[Any], Callable[[pytest.MonkeyPatch], None]]] = {
    "token ids on the CPU": (GatheredAttention, leave("token_ids")),
    "positions on the CPU": (GatheredAttention, leave("positions")),
    "slots on the CPU": (GatheredAttention, leave("slots")),
    "sampled places on the CPU": (GatheredAttention, leave("sample_at")),
    "tables on the CPU, gathered": (GatheredAttention, leave_of_plan("tables")),
    "tables on the CPU, varlen": (VarlenAttention, leave_of_plan("tables")),
    "tables on the CPU, flash": (FlashAttention, leave_of_plan("tables")),
    "lengths on the CPU, gathered": (GatheredAttention, leave_of_plan("lengths")),
    "lengths on the CPU, varlen": (VarlenAttention, leave_of_plan("lengths")),
    "starts on the CPU, varlen": (VarlenAttention, leave_of_plan("query_starts")),
    "starts on the CPU, flash": (FlashAttention, leave_of_plan("query_starts")),
    "rows on the CPU": (GatheredAttention, rows_to(CPU)),
    "pages on the CPU": (GatheredAttention, spoil(pages(to_cpu))),
    "pages in fp32": (GatheredAttention, spoil(pages(wide))),
    "head on the CPU": (GatheredAttention, spoil(set_on("._head", to_cpu))),
    "head in fp32": (GatheredAttention, spoil(set_on("._head", wide))),
    "axes of the angles on the CPU": (GatheredAttention, spoil(set_on("._rotary._axis", to_cpu))),
    "frequencies on the CPU": (GatheredAttention, spoil(set_on("._rotary._inverse", to_cpu))),
    "norm in fp32": (GatheredAttention, spoil(set_on("_before", wide))),
    "norm of queries on the CPU": (GatheredAttention, spoil(set_on("_qk_norm", to_cpu))),
    "norm of queries in fp32": (GatheredAttention, spoil(set_on("_qk_norm", wide))),
    "projection on the CPU": (GatheredAttention, spoil(set_on("_qkv", to_cpu))),
    "router on the CPU": (GatheredAttention, spoil(set_on("_mlp._gate", to_cpu))),
    "ends of the experts on the CPU": (GatheredAttention, spoil(set_on("_mlp._experts._ends", to_cpu))),
    "experts in fp32": (GatheredAttention, spoil(set_on("_mlp._experts._gate_up", wide))),
}
FOUND = (MixedDevices, MixedDtypes, RuntimeError, TypeError, AssertionError)
"""What a mix-up raises: our own check, torch's of devices and dtypes, or that of the stand-in for a kernel."""


@pytest.mark.parametrize("mix_up", MIX_UPS)
def test_a_planted_device_or_dtype_mix_up_is_detected(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, mix_up: str
) -> None:
    kind, plant = MIX_UPS[mix_up]
    with dry_cuda():
        batch = step(kind.block_size)
        decoder(folders["moe"], kind=kind).forward(batch)
        plant(monkeypatch)
        with pytest.raises(FOUND, match=r"device|dtype|type|assert"):
            decoder(folders["moe"], kind=kind).forward(step(kind.block_size))


def keep_on_cpu(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A column of the sampling parameters is made on the CPU."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        whole = sampler._parameters

        def spoilt(states: Any, device: torch.device) -> Any:
            parameters = whole(states, device)
            return replace(parameters, **{name: getattr(parameters, name).to(CPU)})

        monkeypatch.setattr(sampler, "_parameters", spoilt)

    return plant


def noise_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sampler.gumbel
    monkeypatch.setattr(sampler, "gumbel", lambda keys, ids: whole(keys, ids).to(CPU))


def mask_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from_numpy = torch.from_numpy

    class Stays:
        """An object that `.to` does not move."""

        def __init__(self, tensor: torch.Tensor) -> None:
            self.tensor = tensor

        def to(self, device: torch.device) -> torch.Tensor:
            return self.tensor

    monkeypatch.setattr(torch, "from_numpy", lambda array: Stays(from_numpy(array)))


@pytest.mark.usefixtures("values", "formats")
@pytest.mark.parametrize(
    "plant",
    [
        *(keep_on_cpu(name) for name in ("temperature", "top_k", "top_p", "min_p", "keys")),
        noise_on_cpu,
        mask_on_cpu,
    ],
)
def test_a_device_mix_up_in_sampling_is_detected(
    monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    with dry_cuda(), pytest.raises(FOUND, match="device"):
        sample_dry()
