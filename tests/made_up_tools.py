"""Made-up tools whose schemas are bounded, so that every call of them ends. Seeded: equal seeds give equal tools."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from fovea.contract.tools import Tool

VERBS = ("get", "set", "list", "find", "count", "send", "book", "draw")
NOUNS = ("weather", "order", "invoice", "chart", "user", "page", "ticket", "route")
WORDS = ("red", "blue", "Paris", "é", "a b", 'say "hi"', "C:\\tmp", "<tool_call>", "</tool_call>", "{}", "10")
PATTERNS = ("^[a-z]{2,5}$", "^[A-Z][0-9]{1,3}$", "^(yes|no)$", r"^\d{4}-\d{2}$")


def made_up_tools(count: int, seed: int) -> Iterator[Tool]:
    chance = random.Random(seed)
    for number in range(count):
        name = f"{chance.choice(VERBS)}_{chance.choice(NOUNS)}_{number}"
        yield Tool.of(name, f"Made up, number {number}.", _root(chance))


def _root(chance: random.Random) -> dict[str, Any]:
    schema = _object(chance, depth=2)
    if chance.random() < 0.2:  # shared subschemas
        schema["$defs"] = {"shared": _value(chance, 0)}
        schema["properties"]["again"] = {"$ref": "#/$defs/shared"}
        schema["required"] = [*schema["required"], "again"]
    return schema


def _object(chance: random.Random, depth: int) -> dict[str, Any]:
    names = chance.sample(("id", "name", "size", "when", "tags", "note", "über", "a-b"), chance.randint(0, 4))
    return {
        "type": "object",
        "properties": {name: _value(chance, depth - 1) for name in names},
        "required": [name for name in names if chance.random() < 0.7],
        "additionalProperties": False,
    }


def _value(chance: random.Random, depth: int) -> dict[str, Any]:
    made = chance.choice(NESTED if depth > 0 else PLAIN)(chance, depth)
    return made | {"description": "x"} if chance.random() < 0.3 else made


def _string(chance: random.Random, _: int) -> dict[str, Any]:
    least = chance.randint(0, 2)
    return {"type": "string", "minLength": least, "maxLength": least + chance.randint(0, 6)}


def _pattern(chance: random.Random, _: int) -> dict[str, Any]:
    return {"type": "string", "pattern": chance.choice(PATTERNS)}


def _enum(chance: random.Random, _: int) -> dict[str, Any]:
    return {"enum": chance.sample(WORDS, chance.randint(1, 4))}


def _const(chance: random.Random, _: int) -> dict[str, Any]:
    return {"const": chance.choice((*WORDS, 7, None, True, [1, "x"], {"k": 0.5}))}


def _integer(chance: random.Random, _: int) -> dict[str, Any]:
    low = chance.randint(-50, 50)
    return {"type": "integer", "minimum": low, "maximum": low + chance.randint(0, 300)}


def _multiple(chance: random.Random, _: int) -> dict[str, Any]:
    step = chance.choice((2, 5, 10))
    return {"type": "integer", "multipleOf": step, "minimum": 0, "maximum": 20 * step}


def _flag(chance: random.Random, _: int) -> dict[str, Any]:
    return {"type": ["boolean", "null"]} if chance.random() < 0.3 else {"type": "boolean"}


def _list(chance: random.Random, depth: int) -> dict[str, Any]:
    least = chance.randint(0, 2)
    return {
        "type": "array",
        "items": _value(chance, depth - 1),
        "minItems": least,
        "maxItems": least + chance.randint(0, 2),
    }


def _choice(chance: random.Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [_value(chance, depth - 1) for _ in range(chance.randint(1, 3))]}


PLAIN = (_string, _pattern, _enum, _const, _integer, _multiple, _flag)
NESTED = (*PLAIN, _object, _list, _choice)
