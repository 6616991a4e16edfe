"""The decoder's vocabulary: the values that prompt building, engines and the service pass to each
other.

Plain frozen dataclasses over numpy, and the protocol every engine speaks. This module knows no
torch, no protobuf, no network; what a number may be is checked where it enters (`limits`),
not here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fovea.contract.errors import FoveaError
from fovea.contract.rows import RowLayout

FinishReason = Literal["stop", "length", "abort"]
Quantization = Literal["none", "int8"]  # of the native engine
FormatKind = Literal["json_schema", "regex", "choice"]


@dataclass(frozen=True)
class ResponseFormat:
    """What every answer must match. `source` is the JSON schema or the regular expression; for
    `choice`, each of its entries is one answer that is allowed.
    """

    kind: FormatKind
    source: tuple[str, ...]  # one entry, but for `choice`


MIN_TEMPERATURE = MIN_PENALTY = float(np.float32(0.01))
"""In fp32, as they are on the wire. A lower temperature is greedy; a lower repetition penalty is refused."""
MAX_TEMPERATURE = MAX_PENALTY = 100.0


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen and when the answer ends. Zero switches an optional knob off."""

    temperature: float = 0.0  # below MIN_TEMPERATURE it is greedy
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_new_tokens: int = 256
    ignore_eos: bool = False
    response_format: ResponseFormat | None = None
    logprobs: bool = False  # tell the log-probability of every chosen token

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always taken; of equally likely ones the lowest id."""
        return self.temperature < MIN_TEMPERATURE or self.top_k == 1


@dataclass(frozen=True, eq=False)
class ImageSpan:
    """Where the visual tokens of one image stand in the prompt: `rows` placeholders from `start`
    on.

    `grid_thw` counts patches before the merge. `kept` holds the raster indexes of the rows that
    are present (None: all of them). `key` names the content for prefix reuse; empty means that
    nothing may be reused.
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
    """Expanded token ids (L,), their M-RoPE positions (3, L) for T, H, W, and the images in order
    of place.

    `next_position` is what the first generated token gets on all three axes. Only prompts of the
    same `salt` share what is cached of them.
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
class EngineRequest:
    """One answer to produce. `id` is unique among the requests that an engine holds."""

    id: str
    prompt: Prompt
    sampling: Sampling = Sampling()


@dataclass(frozen=True, eq=False)
class RowChunk:
    """`rows` whole rows from `first_row` on, as bytes in the `fovea.contract.rows` layout."""

    first_row: int
    rows: int
    data: bytes | memoryview


@dataclass(frozen=True)
class EngineTimings:
    """Milliseconds a stage. Queue, rows and prefill add up to ttft; all are zero before the first token."""

    queue_ms: float = 0.0  # until a slot and KV blocks were given, less the wait for rows
    rows_ms: float = 0.0  # nothing else to do than wait for rows
    prefill_ms: float = 0.0  # from the slot to the first token, less the wait for rows
    ttft_ms: float = 0.0  # from submission to the first token
    decode_ms: float = 0.0  # from the first token to the last


@dataclass(frozen=True)
class Usage:
    """Tokens of a request: those of the prompt, how many of them came from the KV cache, those
    generated.
    """

    prompt_tokens: int
    cached_prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Delta:
    """A step of the answer. The last one has a `finish_reason`; `usage` and `timings` are current
    in each.

    `text` never ends inside a UTF-8 character, and may lag behind `token_ids` while it could still
    turn out to be the beginning of a stop string.
    """

    token_ids: tuple[int, ...]
    text: str
    usage: Usage
    timings: EngineTimings
    finish_reason: FinishReason | None = None
    matched_stop: str | None = None
    logprobs: tuple[float, ...] = ()  # natural, one a token of `token_ids`; none unless asked for


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
    """What one request may ask for. `waiting` bounds the queue; beyond it callers are told to come
    back.
    """

    max_context: int = 8192
    max_new_tokens: int = 512
    max_waiting: int = 256
    max_stop_strings: int = 16
    max_format_bytes: int = 65_536
    max_format_s: float = 2.0  # of CPU, to compile one
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


RowStreams = Sequence[AsyncIterator[RowChunk]]  # one an image, in the order of the prompt


class Engine(Protocol):
    """What the service needs of an engine. All methods are called from one event loop."""

    @property
    def shape(self) -> ModelShape: ...

    @property
    def limits(self) -> EngineLimits: ...

    @property
    def healthy(self) -> bool: ...

    @property
    def description(self) -> str:
        """What runs the model and why, once it has started; for the log and GetServerInfo."""
        ...

    async def start(self) -> None: ...

    async def died(self) -> FoveaError:
        """Waits until the engine has died of a failure that it could not contain; says which."""
        ...

    async def close(self) -> None: ...

    def load(self) -> EngineLoad: ...

    async def probe(self, prompt: Prompt) -> int:
        """How many leading tokens of the prompt are in the KV cache already."""
        ...

    async def check_format(self, wanted: ResponseFormat) -> None:
        """Raises FormatNotEnforceable or FormatTooCostly; what passes is remembered for `submit`."""
        ...

    def submit(
        self, request: EngineRequest, rows: RowStreams, layout: RowLayout | None = None
    ) -> AsyncGenerator[Delta, None]:
        """Deltas of one answer, the first of them as soon as the request is admitted, without a token.
        `layout` is that of the rows and may be None where there are none.

        Closing the generator frees all that the request holds and closes the row streams. Raises a
        FoveaError before the first delta if the request is refused, later if it fails; what a row
        stream raises is passed on unchanged.
        """
        ...

    def abort(self, request_id: str) -> None:
        """End a request from outside: its iterator ends with finish_reason `abort`. Unknown ids
        are ignored.
        """
        ...
