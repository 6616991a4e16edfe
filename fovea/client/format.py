"""Structured output as a Python caller specifies it. The server validates it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fovea.decoder.v1 import decoder_pb2


@dataclass(frozen=True)
class Format:
    """`source` has a single entry, or the options of `choice`. Use the constructors below."""

    kind: Literal["json_schema", "regex", "choice"]
    source: tuple[str, ...]

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str) -> Format:
        """JSON that is valid under this schema, given as a dict or as text."""
        return cls("json_schema", (schema if isinstance(schema, str) else json.dumps(schema),))

    @classmethod
    def regex(cls, pattern: str) -> Format:
        """Text that matches this expression as a whole; Rust syntax, without look-around."""
        return cls("regex", (pattern,))

    @classmethod
    def choice(cls, *options: str) -> Format:
        """An option, verbatim."""
        return cls("choice", options)

    def message(self) -> decoder_pb2.ResponseFormat:
        """The protobuf message."""
        value: Any = decoder_pb2.Choice(options=self.source) if self.kind == "choice" else self.source[0]
        return decoder_pb2.ResponseFormat(**{self.kind: value})
