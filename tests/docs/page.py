"""A page with commands: each `sh` block, and the block after it that shows what it prints.

Reads and writes Markdown. Independent of grpcurl and the services.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# A block of commands, and right after it, if it prints anything, a block of another language.
_BLOCK = re.compile(
    r"^```sh\n(?P<command>.*?)^```\n(?:\n```(?:json|text)\n(?P<output>.*?)^```\n)?", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """Commands, and their output on the page. Empty if the page shows none."""

    command: str
    output: str

    @property
    def name(self) -> str:
        """The name for a test: the last RPC in the block, or its first line."""
        calls = re.findall(r"\.v1\.(\w+/\w+)", self.command)
        return calls[-1] if calls else self.command.splitlines()[0]


def blocks(page: str) -> list[Block]:
    """The commands of a page, in order."""
    return [Block(match["command"], match["output"] or "") for match in _BLOCK.finditer(page)]


def with_outputs(page: str, outputs: Sequence[str]) -> str:
    """The page with its outputs replaced. Raises ValueError if an output has no block on the page."""
    rest = list(outputs)

    def put(match: re.Match[str]) -> str:
        output = rest.pop(0)
        if match["output"] is not None:
            start, end = (place - match.start() for place in match.span("output"))
            return match[0][:start] + output + match[0][end:]
        if output:
            raise ValueError(f"no block for the output of {match['command']!r}: {output!r}")
        return match[0]

    return _BLOCK.sub(put, page)
