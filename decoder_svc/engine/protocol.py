"""The decoder's vocabulary: the values that prompt building, engines and the service exchange.

Frozen dataclasses over numpy, and the protocol of an engine. Names no torch type and no protobuf message.
Numbers are checked where they enter (`admission`), not here.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fovea.contract.answer import TopLogprobs
from fovea.contract.errors import FoveaError
from fovea.contract.rows import RowLayout
from fovea.contract.sampling import DEFAULT_SAMPLING
from fovea.contract.sampling import MAX_BIAS as MAX_BIAS
from fovea.contract.sampling import MAX_BIASES as MAX_BIASES
from fovea.contract.sampling import MAX_COUNT_PENALTY as MAX_COUNT_PENALTY
from fovea.contract.sampling import MAX_PENALTY as MAX_PENALTY
from fovea.contract.sampling import MAX_TEMPERATURE as MAX_TEMPERATURE
from fovea.contract.sampling import MAX_TOP_LOGPROBS as MAX_TOP_LOGPROBS
from fovea.contract.sampling import MIN_PENALTY as MIN_PENALTY
from fovea.contract.sampling import MIN_TEMPERATURE as MIN_TEMPERATURE
from fovea.contract.sampling import ResponseFormat as ResponseFormat
from fovea.contract.sampling import Sampling as Sampling
from fovea.server.identity import DEFAULT_TENANT

FinishReason = Literal["stop", "length", "abort"]
Quantization = Literal["none", "int8"]  # of the native engine
Reasoning = Literal["none", "optional", "opened"]
"""Whether an answer has no reasoning, may open it, or begins within it, because the prompt has opened it."""


@dataclass(frozen=True, eq=False)
class ImageSpan:
    """The visual tokens of an image in the prompt: `rows` placeholders from `start` on.

    `grid_thw` counts patches before the merge. `kept` holds the raster indices of the rows that are present,
    None if all are. `key` identifies the content for prefix reuse; an empty key forbids reuse.
    """

    start: int
    grid_thw: tuple[int, int, int]
    rows: int
    kept: NDArray[np.int32] | None = None
    key: bytes = b""

    @property
    def end(self) -> int:
        return self.start + self.rows


@dataclass(frozen=True, eq=False)
class Prompt:
    """Expanded token ids (L,), their M-RoPE positions (3, L) for T, H, W, and the images in prompt order.

    `next_position` is that of the first generated token. Prompts of the same `salt` may share cached blocks.
    """

    token_ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    next_position: int
    images: tuple[ImageSpan, ...] = ()
    salt: bytes = b""

    @property
    def visual_tokens(self) -> int:
        return sum(image.rows for image in self.images)


@dataclass(frozen=True)
class CallableTool:
    """A tool that an answer may call.

    `schema` is the JSON schema of its arguments, from `field` of the request; empty for any object.
    """

    name: str
    schema: str
    field: str


@dataclass(frozen=True)
class AnswerRules:
    """What an answer is held to, in order: reasoning, then calls of `tools` or a `format`.

    `forced`: the answer is a call. Otherwise calls stand within text, or in the place of the format.
    `parallel`: there may be several calls. As a format, the rules are compiled, bounded and remembered.
    """

    reasoning: Reasoning = "none"
    tools: tuple[CallableTool, ...] = ()
    forced: bool = False
    parallel: bool = True
    format: ResponseFormat | None = None

    @property
    def kind(self) -> Literal["rules"]:
        return "rules"

    @property
    def source(self) -> tuple[str]:
        return (json.dumps(asdict(self)),)

    @property
    def field(self) -> str:
        return self.format.field if self.format and not self.tools else "tools"


Wanted = ResponseFormat | AnswerRules
"""What an answer must match."""


@dataclass
class EngineProgress:
    """What an engine has computed of a request. Final once the request's deltas have ended, however they end.

    `prompt_tokens` counts the leading tokens of the prompt that were read, from the KV cache or by prefill.
    """

    prompt_tokens: int = 0
    cached_prompt_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class EngineRequest:
    """An answer to produce. `id` is unique among the requests that an engine holds.

    What the engine caches of the response format is the tenant's. The engine calls `on_computed` when nothing
    is left to compute, even if the answer has not been read. No figure counts a `dummy`. `rules` are what the
    answer is held to beyond the format of `sampling`, which they contain.
    """

    id: str
    prompt: Prompt
    sampling: Sampling = DEFAULT_SAMPLING
    tenant: str = DEFAULT_TENANT
    on_computed: Callable[[], object] = lambda: None
    progress: EngineProgress = field(default_factory=EngineProgress, compare=False)
    dummy: bool = False
    rules: AnswerRules | None = None

    @property
    def wanted(self) -> Wanted | None:
        return self.rules or self.sampling.response_format


@dataclass(frozen=True, eq=False)
class RowChunk:
    """`rows` whole rows from `first_row` on, as bytes in the `fovea.contract.rows` layout.

    `xxh3` is the checksum of `data` that was verified on receipt; 0 for rows that no encoder sent.
    """

    first_row: int
    rows: int
    data: bytes | memoryview
    xxh3: int = 0


@dataclass(frozen=True)
class EngineTimings:
    """Milliseconds per stage. Queue, rows and prefill add up to ttft. All are zero before the first token."""

    queue_ms: float = 0.0  # until a slot and KV blocks were free, without the wait for rows
    rows_ms: float = 0.0  # waiting for rows with nothing else to do
    prefill_ms: float = 0.0  # from the slot to the first token, without the wait for rows
    ttft_ms: float = 0.0  # from submission to the first token
    decode_ms: float = 0.0  # from the first token to the last


@dataclass(frozen=True)
class Usage:
    """Tokens of the prompt, how many of them came from the KV cache, and tokens of the answer."""

    prompt_tokens: int
    cached_prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Delta:
    """A step of the answer. The last delta has a `finish_reason`. Each has the current `usage` and `timings`.

    `text` never ends inside a UTF-8 character. It lags behind `token_ids` while it may begin a stop string.
    The last three fields are parallel to `token_ids`, and empty unless the request wants them.
    """

    token_ids: tuple[int, ...]
    text: str
    usage: Usage
    timings: EngineTimings
    finish_reason: FinishReason | None = None
    matched_stop: str | None = None
    logprobs: tuple[float, ...] = ()  # natural
    token_bytes: tuple[bytes, ...] = ()
    top_logprobs: tuple[TopLogprobs, ...] = ()


@dataclass(frozen=True)
class ModelShape:
    """What the model reads. A row has `width` values in the pooled level and in each of `levels` deepstack
    levels. Token ids are below `vocab_size`; `image_token_id` is the placeholder of a row.
    """

    width: int
    levels: int
    vocab_size: int
    image_token_id: int


@dataclass(frozen=True)
class EngineLimits:
    """What a request may demand. Callers beyond `max_waiting` are refused and may retry."""

    max_context: int = 8192
    max_new_tokens: int = 512
    max_waiting: int = 256
    max_stop_strings: int = 16
    max_format_bytes: int = 65_536
    max_format_s: float = 2.0  # CPU time to compile a format
    max_format_memory_bytes: int = 64 << 20
    format_workers: int = 2


@dataclass(frozen=True)
class EngineLoad:
    """How full an engine is now."""

    running: int
    waiting: int
    kv_used_blocks: int
    kv_total_blocks: int
    preemptions: int  # since the start
    steps: int = 0  # since the start; grows as long as the engine computes, also within a long step

    @property
    def kv_share(self) -> float:
        """Share of the KV blocks that requests hold, 0 to 1; 0 while their number is not known."""
        return self.kv_used_blocks / self.kv_total_blocks if self.kv_total_blocks else 0.0


RowStreams = Sequence[AsyncIterator[RowChunk]]  # a stream per image, in the order of the prompt


class Engine(Protocol):
    """What the service needs of an engine. All methods are called from the same event loop."""

    @property
    def shape(self) -> ModelShape: ...

    @property
    def limits(self) -> EngineLimits: ...

    @property
    def healthy(self) -> bool: ...

    @property
    def description(self) -> str:
        """What runs the model and why, for the log and GetServerInfo. Known after the start."""
        ...

    async def start(self) -> None: ...

    async def died(self) -> FoveaError:
        """Waits until a failure ends the engine; returns that failure."""
        ...

    async def close(self) -> None: ...

    def load(self) -> EngineLoad: ...

    async def probe(self, prompt: Prompt) -> int:
        """How many leading tokens of the prompt are in the KV cache now."""
        ...

    async def check_format(self, wanted: Wanted, tenant: str) -> None:
        """Compile a format, so that a request with it can be refused early. Raises FormatNotEnforceable or
        FormatTooCostly. The result is cached for later calls of the tenant and for `submit`.
        """
        ...

    def submit(
        self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None = None
    ) -> AsyncGenerator[Delta, None]:
        """The deltas of an answer. The first has no token; it comes as soon as the request is admitted.

        `layout` describes the rows and may be None without images. Closing the generator frees everything
        that the request holds and closes the row streams. Raises a FoveaError before the first delta if the
        request is refused, later if it fails. Exceptions of a row stream pass unchanged.
        """
        ...

    def abort(self, request_id: str) -> None:
        """End a request with finish reason `abort`. Unknown ids are ignored."""
        ...
