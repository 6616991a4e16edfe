"""The rules of an answer as a grammar: reasoning, then calls of tools or a format.

A single Lark grammar with schemas inline, because both engines take it. A call is written as the template of
Qwen3 writes earlier calls. Independent of what schemas and formats may hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from decoder_svc.engine.protocol import Reasoning

THINKING: Mapping[Reasoning, str] = {
    "none": "answer",
    "opened": 'reasoned "\\n\\n" answer',
    "optional": '("<think>" reasoned "\\n\\n")? answer',
}
CALLS = {True: 'call ("\\n" call)*', False: "call"}
WITHIN_TEXT = {True: "(lead body)* TEXT", False: "TEXT | lead body"}
"""By whether there may be several calls."""


def lark(
    reasoning: Reasoning, tools: Sequence[tuple[str, str]], forced: bool, parallel: bool, format: str
) -> str:
    """`tools` are names with the expressions of their arguments, `format` is an expression or empty.

    A lazy rule ends at its first match, so that nothing after it is read as more text.
    """
    calls = [CALLS[parallel]] if tools else []
    if format:
        answer = " | ".join([*calls, "format"])
    else:
        answer = " | ".join(calls) if forced else WITHIN_TEXT[parallel]
    rules = {
        "start": THINKING[reasoning],
        "answer": answer,
        "reasoned[lazy]": 'TEXT "</think>"',
        "TEXT": "/(.|\\n)*/",
    }
    if tools:
        rules |= {
            "lead[lazy]": 'TEXT "<tool_call>"',
            "call": '"<tool_call>" body',
            "body": " | ".join(f"body_{at}" for at in range(len(tools))),
        }
    rules |= {f"body_{at}": _body(name, arguments) for at, (name, arguments) in enumerate(tools)}
    rules |= {"format": format} if format else {}
    return "%llguidance {}\n" + "".join(f"{name}: {rule}\n" for name, rule in rules.items())


def _body(name: str, arguments: str) -> str:
    before, after = f'\n{{"name": "{name}", "arguments": ', "}\n</tool_call>"
    return f"{json.dumps(before)} {arguments} {json.dumps(after)}"
