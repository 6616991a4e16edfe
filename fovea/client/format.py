"""The form that an answer must have, as a Python caller writes it.

Checks nothing: the server knows what it can enforce.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fovea.decoder.v1 import decoder_pb2


@dataclass(frozen=True)
class Format:
    """Made by `json_schema`, `regex` or `choice`. `source` has one entry, but for `choice` one an option."""

    kind: Literal["json_schema", "regex", "choice"]
    source: tuple[str, ...]

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | str) -> Format:
        """JSON that is valid by this schema, given as a dict or as its text."""
        return cls("json_schema", (schema if isinstance(schema, str) else json.dumps(schema),))

    @classmethod
    def regex(cls, pattern: str) -> Format:
        """Text that this expression matches as a whole; the syntax is that of Rust, without look-around."""
        return cls("regex", (pattern,))

    @classmethod
    def choice(cls, *options: str) -> Format:
        """One of these."""
        return cls("choice", options)

    def message(self) -> decoder_pb2.ResponseFormat:
        """As it is sent."""
        if self.kind == "choice":
            return decoder_pb2.ResponseFormat(choice=decoder_pb2.Choice(options=self.source))
        if self.kind == "regex":
            return decoder_pb2.ResponseFormat(regex=self.source[0])
        return decoder_pb2.ResponseFormat(json_schema=self.source[0])
