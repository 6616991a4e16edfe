"""From settings to a loaded engine. Makes every decision of the start: devices, attention, KV blocks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import structlog
import torch

from decoder_svc.engine.protocol import EngineLimits, Quantization
from decoder_svc.model.attention import Attention, AttentionShape, choose_attention
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.model.graphs import DecodeGraphs, difference
from decoder_svc.model.load import Progress
from decoder_svc.model.text import TextDecoder
from decoder_svc.model.unpack import TORCH_DTYPE
from decoder_svc.native_engine.kv import BlockManager
from decoder_svc.native_engine.scheduler import Scheduler, SchedulerConfig
from decoder_svc.native_engine.worker import Worker
from decoder_svc.sampling.detokenizer import Vocabulary
from decoder_svc.sampling.formats import Formats
from decoder_svc.sampling.trie import TokenSet
from fovea.contract.rows import RowDtype
from fovea.machine import check_devices

log = structlog.get_logger()
CPU_KV_TOKENS = 32_768  # the minimum; more if CPU_KV_BYTES hold more
CPU_KV_BYTES = 256 << 20
GRAPH_ERROR = 0.02  # of the largest logit
CUDA_KV_SHARE = 0.85  # of the memory that the weights leave free; the rest is for activations


@dataclass(frozen=True)
class NativeSettings:
    """Zero and empty leave the decision to the machine."""

    checkpoint: Path
    dtype: RowDtype = RowDtype.BF16
    devices: tuple[str, ...] = ()  # layers are split over them in order
    kv_tokens: int = 0
    block_size: int = 0
    prefill_chunk: int = 512  # prompt tokens of a step, beside the decodes
    max_running: int = 64
    threads: int = 0
    quantization: Quantization = "none"
    prefix_cache: bool = True
    overlap: bool = True  # compute a prompt while rows of its later images are on the way
    delta_interval_s: float = 0.0  # between two deltas of an answer
    limits: EngineLimits = field(default_factory=EngineLimits)


@dataclass(frozen=True, eq=False)
class LoadedEngine:
    """A loaded engine that does not run yet."""

    checkpoint: Checkpoint
    model: TextDecoder
    vocabulary: Vocabulary
    worker: Worker
    formats: Formats
    description: str  # what was chosen, and why


def build(
    settings: NativeSettings, progress: Progress | None = None, source: Checkpoint | None = None
) -> LoadedEngine:
    """Read the weights from `source`, by default from the folder of the settings. Raises
    CheckpointNotSupported, or ValueError if settings contradict model or memory.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    checkpoint = source or Checkpoint(settings.checkpoint)
    vocabulary = Vocabulary(settings.checkpoint)
    vocabulary.token_bytes  # noqa: B018  computed now, so that the first request does not wait
    no_bf16 = settings.dtype is RowDtype.BF16 and not torch.cuda.is_bf16_supported(including_emulation=False)
    check_devices(settings.devices, torch.cuda.device_count(), no_bf16)
    devices = _devices(settings.devices)
    dtype = TORCH_DTYPE[settings.dtype]
    text = checkpoint.architecture.text_config
    heads = AttentionShape(text.num_attention_heads, text.num_key_value_heads, text.head_dim)
    attention, why = choose_attention(devices[0], dtype, heads)
    model = TextDecoder(checkpoint, dtype, devices, attention, settings.quantization, progress)
    checkpoint.close()
    blocks = _blocks(settings, model, attention.block_size)
    model.allocate(blocks.spare + 1, blocks.block_size)
    graphs, how = _graphs(settings, model, attention, blocks)
    description = f"{attention.name} on {devices[0].type} ({why}); decode {how}"
    log.info("engine", attention=description, quantization=settings.quantization, kv_blocks=blocks.total)
    config = SchedulerConfig(
        settings.prefill_chunk, settings.max_running, settings.overlap, settings.prefix_cache
    )
    worker = Worker(model, graphs, Scheduler(blocks, config), settings.dtype)
    tokens = TokenSet(checkpoint.folder, model.shape.vocab_size, checkpoint.eos_ids)
    formats = Formats(tokens, settings.limits)
    return LoadedEngine(checkpoint, model, vocabulary, worker, formats, description)


def _graphs(
    settings: NativeSettings, model: TextDecoder, attention: Attention, blocks: BlockManager
) -> tuple[DecodeGraphs | None, str]:
    """Recorded decodes if they match computed decodes, and for the log how decodes run."""
    device = model.devices[0]
    if device.type != "cuda" or len(set(model.devices)) > 1 or not attention.captures:
        return None, "call by call"
    width = -(-settings.limits.max_context // blocks.block_size)
    graphs = DecodeGraphs(model.forward, device, width, blocks.block_size, spare=blocks.spare)
    try:
        graphs.record(settings.max_running)
        error = difference(graphs, model.forward, graphs.sample(min(3, settings.max_running)))
    except RuntimeError as failure:
        return None, f"call by call (CUDA graphs failed: {str(failure)[:200]})"
    if not error <= GRAPH_ERROR:  # nan too
        return None, f"call by call (CUDA graphs were off by {error:.2g})"
    return graphs, f"in CUDA graphs of up to {settings.max_running}"


def _devices(names: tuple[str, ...]) -> list[torch.device]:
    if names:
        return [torch.device(name) for name in names]
    cuda = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    return cuda or [torch.device("cpu")]


def _blocks(settings: NativeSettings, model: TextDecoder, suits: int) -> BlockManager:
    """Raises ValueError if a request of the full context does not fit: it could never end."""
    context, most = settings.limits.max_context, model.config.max_position_embeddings
    if context > most:
        raise ValueError(f"max_context {context} is above the model's {most}")
    size = settings.block_size or suits
    blocks = (settings.kv_tokens or _kv_tokens(model)) // size
    if blocks * size < context:
        raise ValueError(f"a KV cache of {blocks * size} tokens is below max_context {context}")
    return BlockManager(blocks, size)


def _kv_tokens(model: TextDecoder) -> int:
    """As many tokens as fit beside the weights on the fullest GPU; a modest number on a CPU."""
    if model.devices[0].type != "cuda":
        return max(CPU_KV_TOKENS, CPU_KV_BYTES // model.token_bytes)
    used = set(model.devices)
    free = min(torch.cuda.mem_get_info(device)[0] for device in used)
    return int(CUDA_KV_SHARE * free * len(used) / model.token_bytes)
