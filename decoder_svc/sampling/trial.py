"""Tries a format in a child process: it may take any time and memory, and only a trial shows how much.

Runs as `python -m decoder_svc.sampling.trial`, which loads the tokens once; imported only for `Verdict`.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

from decoder_svc.sampling.keywords import TooCostly, Unenforceable
from fovea.nursery import frames
from fovea.nursery.limits import ChildLimits
from fovea.nursery.server import Nursery

if TYPE_CHECKING:
    from llguidance import LLTokenizer

NICENESS = 5  # the engine's steps have priority


@dataclass(frozen=True)
class Verdict:
    """The result of a trial: the grammar's `source`, or why the format is `refused`, or what is too `costly`
    with limit and value, or the signal of which the child `died` (its exit status if below 0). `field` of the
    request is at fault if it is not that of the whole format.
    """

    source: str = ""
    refused: str = ""
    costly: tuple[str, float, float] | None = None
    died: int = 0
    field: str = ""

    def packed(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def parse(cls, reply: bytes | bytearray) -> Verdict:
        return cls(**json.loads(reply))


def judge(tokenizer: LLTokenizer, kind: str, source: list[str]) -> Verdict:
    """Takes any time and memory, so it runs in a child."""
    from decoder_svc.sampling.grammar import compiled
    from decoder_svc.sampling.source import grammar_source

    try:
        grammar = grammar_source(kind, source)
        compiled(tokenizer, grammar)
    except Unenforceable as error:
        return Verdict(refused=str(error), field=error.field or _field_at_fault(tokenizer, kind, source))
    except TooCostly as error:
        return Verdict(costly=(error.what, error.limit, error.actual), field=error.field)
    except MemoryError:
        return Verdict(died=signal.SIGABRT)
    return Verdict(source=grammar)


def _field_at_fault(tokenizer: LLTokenizer, kind: str, source: list[str]) -> str:
    """The field of the part of the rules that does not compile by itself; empty if each does."""
    from decoder_svc.sampling.grammar import compiled
    from decoder_svc.sampling.source import parts

    for field, grammar in parts(kind, source):
        try:
            compiled(tokenizer, grammar)
        except Unenforceable:
            return field
    return ""


def serve(tokenizer: LLTokenizer, caller: socket.socket) -> None:
    """The child: reads a format and answers."""
    with caller.makefile("rb") as incoming:
        request = frames.read(incoming)
    if request is not None:
        verdict = judge(tokenizer, *json.loads(request[1])).packed()
        caller.sendall(frames.packed({}, len(verdict)) + verdict)


def main(control_fd: str, settings: str, limits: str) -> None:
    # loaded once, outside of the limits of children
    from decoder_svc.sampling import grammar, source  # noqa: F401
    from decoder_svc.sampling.trie import TokenSet

    tokenizer = TokenSet.parse(json.loads(settings)["tokens"]).load()
    control = socket.socket(fileno=int(control_fd))
    Nursery(control, partial(serve, tokenizer), ChildLimits(**json.loads(limits)), NICENESS).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
