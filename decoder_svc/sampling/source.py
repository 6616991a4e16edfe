"""What an answer must match, as llguidance's grammar.

All kinds are built from parsed or escaped values, so that no caller's text can name another grammar. Takes
any time and memory; `formats` decides where it happens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llguidance import LLMatcher

from decoder_svc.sampling.keywords import FormatError, Unenforceable
from decoder_svc.sampling.rules import lark
from decoder_svc.sampling.schema import enforceable

# Unbounded whitespace invites a model to print nothing else. An optional space covers what JSON writers do.
# With \u, a key could be spelled like a key of `properties` and would then accept any value.
JSON_RULES: dict[str, Any] = {
    "whitespace_pattern": " ?",
    "lenient": False,
    "json_allowed_escapes": 'nrbtf\\"',
}
ANY_OBJECT = '{"type": "object"}'
START = "start: "


def grammar_source(kind: str, source: Sequence[str]) -> str:
    """Raises Unenforceable or TooCostly, which name the field if it is not that of the whole."""
    if kind == "json_schema":
        return _json(enforceable(source[0]))
    if kind == "rules":
        return LLMatcher.grammar_from_lark(_rules(json.loads(source[0])))
    return LLMatcher.grammar_from_regex(_expression(kind, source))


def _expression(kind: str, source: Sequence[str]) -> str:
    if kind == "choice":
        return "|".join(re.escape(option) for option in source)
    pattern = source[0]
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:  # llguidance would read it as a backslash
        raise Unenforceable("ends in a lone backslash")
    return pattern


def _json(schema: Mapping[str, Any]) -> str:
    text = json.dumps(schema)
    return LLMatcher.grammar_from_json_schema(text, overrides=JSON_RULES)  # type: ignore[arg-type]


def parts(kind: str, source: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The grammars of which rules consist, each with its field. Raises what `grammar_source` raises."""
    if kind == "rules":
        rules = json.loads(source[0])
        yield from ((tool["field"], _arguments(tool)) for tool in rules["tools"])
        if wanted := rules["format"]:
            yield f"response_format.{wanted['kind']}", _format(wanted)


def _rules(rules: Mapping[str, Any]) -> str:
    """The Lark grammar of packed AnswerRules."""
    tools = [(tool["name"], _inline(_arguments(tool))) for tool in rules["tools"]]
    format = _inline(_format(rules["format"])) if rules["format"] else ""
    return lark(rules["reasoning"], tools, rules["forced"], rules["parallel"], format)


def _format(wanted: Mapping[str, Any]) -> str:
    with _of_field(f"response_format.{wanted['kind']}"):
        return grammar_source(wanted["kind"], wanted["source"])


def _arguments(tool: Mapping[str, Any]) -> str:
    """The schema of a tool's arguments, which are an object whatever it says."""
    with _of_field(tool["field"]):
        schema = {"type": "object"} | enforceable(tool["schema"] or ANY_OBJECT)
        if schema["type"] != "object":
            raise Unenforceable("type in # must be object: the arguments of a tool are an object")
        return _json(schema)


@contextmanager
def _of_field(field: str) -> Iterator[None]:
    """Names the field of a part in its failures."""
    try:
        yield
    except FormatError as error:
        error.field = field
        raise


def _inline(source: str) -> str:
    """A grammar as an expression of a Lark grammar."""
    return as_lark(source).strip().removeprefix(START)


def as_lark(source: str) -> str:
    """A grammar as the text of a Lark grammar. Newer versions of llguidance keep a Lark grammar as it is."""
    if not source.startswith("{"):
        return source
    (grammar,) = json.loads(source)["grammars"]
    lark: str | None = grammar.get("lark_grammar")
    return f"{START}%json {json.dumps(grammar['json_schema'])}" if lark is None else lark
