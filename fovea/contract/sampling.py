"""How the tokens of an answer are chosen: sampling parameters and structured output."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from fovea.contract.errors import InvalidArgument
from fovea.decoder.v1 import decoder_pb2

DEFAULT_MAX_NEW_TOKENS = 256
MIN_TEMPERATURE = MIN_PENALTY = float(np.float32(0.01))
"""In fp32, as on the wire. A lower temperature is greedy; a lower repetition penalty is refused."""
MAX_TEMPERATURE = MAX_PENALTY = 100.0
MAX_COUNT_PENALTY = 2.0
"""Of the presence and the frequency penalty, in both directions."""
MAX_BIAS, MAX_BIASES = 100.0, 300
MAX_TOP_LOGPROBS = 20
_NEUTRAL_AS_SENT = {"temperature": 0.001, "top_k": 2**32 - 1, "min_p": 1e-30}
"""Values without effect that the wire can tell from an unset field."""

FormatKind = Literal["json_schema", "regex", "choice"]


@dataclass(frozen=True)
class ResponseFormat:
    """What the whole answer must match (structured output). The server validates it.

    `source` has a single entry, or the options of `choice`. Use the constructors below.
    """

    kind: FormatKind
    source: tuple[str, ...]

    @property
    def field(self) -> str:
        """The field of a request that holds the format."""
        return f"response_format.{self.kind}"

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str) -> ResponseFormat:
        """JSON that is valid under this schema, given as a dict or as text."""
        return cls("json_schema", (schema if isinstance(schema, str) else json.dumps(schema),))

    @classmethod
    def regex(cls, pattern: str) -> ResponseFormat:
        """Text that matches this expression as a whole; Rust syntax, without look-around."""
        return cls("regex", (pattern,))

    @classmethod
    def choice(cls, *options: str) -> ResponseFormat:
        """Exactly one of the options."""
        return cls("choice", options)


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of a request; the defaults are greedy. Zero disables an optional parameter.

    `max_new_tokens` None takes the server's default. `logit_bias` is added to the logits of tokens, by id.
    With `checkpoint_defaults`, parameters that have their default value here take the checkpoint's, except
    those that `explicit` names. The request carries `response_format`, `logprobs` and `top_logprobs` in
    fields of its own. `ignore_eos` is only for direct callers of an engine.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: Sequence[str] = ()
    max_new_tokens: int | None = None
    ignore_eos: bool = False
    response_format: ResponseFormat | None = None
    logprobs: bool = False
    top_logprobs: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    checkpoint_defaults: bool = False
    explicit: frozenset[str] = frozenset()

    @classmethod
    def of(cls, **given: Any) -> Sampling:
        """The parameters that are not None, which are explicit."""
        named = {name: value for name, value in given.items() if value is not None}
        return cls(**named, explicit=frozenset(named))

    def over(self, defaults: Mapping[str, float]) -> Sampling:
        """With the checkpoint's `defaults` for what is unset, if the caller asks for them."""
        unset = {name: value for name, value in defaults.items() if not self._is_set(name)}
        taken: dict[str, Any] = unset if self.checkpoint_defaults else {}
        return replace(self, **taken, checkpoint_defaults=False, explicit=frozenset())

    def _is_set(self, name: str) -> bool:
        return name in self.explicit or getattr(self, name) != getattr(DEFAULT_SAMPLING, name)

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest token is always taken, of equally likely tokens the lowest id."""
        return self.temperature < MIN_TEMPERATURE or self.top_k == 1

    @property
    def token_limit(self) -> int:
        """Most tokens of the answer."""
        return DEFAULT_MAX_NEW_TOKENS if self.max_new_tokens is None else self.max_new_tokens


DEFAULT_SAMPLING = Sampling()


def sampling_to_proto(sampling: Sampling) -> decoder_pb2.Sampling:
    """The parameters that differ from their defaults, and those that must win over the checkpoint's."""
    changed = {
        name: value
        for name in decoder_pb2.Sampling.DESCRIPTOR.fields_by_name
        if (value := getattr(sampling, name)) not in (None, getattr(DEFAULT_SAMPLING, name))
    }
    wins = sampling.explicit if sampling.checkpoint_defaults else frozenset()
    neutral = {
        name: _NEUTRAL_AS_SENT.get(name, getattr(sampling, name))
        for name in decoder_pb2.Sampling.DESCRIPTOR.fields_by_name
        if name in wins and name not in changed
    }
    return decoder_pb2.Sampling(**changed, **neutral)


def sampling_from_proto(message: decoder_pb2.Sampling) -> Sampling:
    """The parameters as sent, unchecked."""
    given: dict[str, Any] = {field.name: value for field, value in message.ListFields()}
    own = {"stop": tuple(message.stop), "logit_bias": dict(message.logit_bias)}
    return Sampling(**given | own, explicit=frozenset(given))


def format_to_proto(wanted: ResponseFormat | None) -> decoder_pb2.ResponseFormat | None:
    if wanted is None:
        return None
    if wanted.kind == "choice":
        return decoder_pb2.ResponseFormat(choice=decoder_pb2.Choice(options=wanted.source))
    if wanted.kind == "regex":
        return decoder_pb2.ResponseFormat(regex=wanted.source[0])
    return decoder_pb2.ResponseFormat(json_schema=wanted.source[0])


def format_from_proto(message: decoder_pb2.ResponseFormat) -> ResponseFormat:
    """The format as sent, unchecked. Raises InvalidArgument if none is given."""
    kind = message.WhichOneof("format")
    if kind is None:
        raise InvalidArgument.of_field("response_format", "needs json_schema, regex or choice")
    source = message.choice.options if kind == "choice" else [getattr(message, kind)]
    return ResponseFormat(kind, tuple(source))
