"""Random schemas with every enforced keyword, and a validator independent of llguidance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jsonschema
from hypothesis import strategies as st

NUMBERS = (-10, -2, -1.5, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 1.25, 1.5, 2, 5, 10, 10.5, 100)
NAMES = ("a", "b", "ab", "k1", "c/d", "é", " ")
PATTERNS = ("^a", "b$", "^[a-c]+$", "x|y", r"^\d{2}$", "^(a|b)*$", r"\w", "^$", "")
KEYS = ("^a", "^k[0-9]$", "b$")
LITERALS = (None, True, False, 0, 1, -1, 2, 1.5, -0.5, "", "a", "ab", "\n", '"\\', "é", 1.0)
LITERALS += ([], [1, "a"], {}, {"a": 1}, {"b": [None], "a": {}})  # type: ignore[assignment]
NUMERIC = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def _some(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keywords)


def numbers() -> st.SearchStrategy[dict[str, Any]]:
    steps = st.sampled_from((0.1, 0.25, 0.5, 1, 2, 3, 7, 0.01, 2.5, 0.3))
    return _some(**dict.fromkeys(NUMERIC, st.sampled_from(NUMBERS)), multipleOf=steps)


def _strings() -> st.SearchStrategy[dict[str, Any]]:
    return _some(minLength=st.integers(0, 3), maxLength=st.integers(0, 4), pattern=st.sampled_from(PATTERNS))


def _arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return _some(
        items=inner,
        prefixItems=st.lists(inner, min_size=1, max_size=2),
        minItems=st.integers(0, 3),
        maxItems=st.integers(0, 3),
    )


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return _some(
        properties=st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
        required=st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
        additionalProperties=st.just(False) | inner,
        patternProperties=st.dictionaries(st.sampled_from(KEYS), inner, min_size=1, max_size=2),
        minProperties=st.integers(0, 3),
        maxProperties=st.integers(0, 3),
    )


def _applied(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    several = st.lists(inner, min_size=1, max_size=3)
    references = st.sampled_from(("#/$defs/p", "#/$defs/q"))
    return _some(allOf=several, anyOf=several, oneOf=several, **{"$ref": references})


def _literal() -> st.SearchStrategy[dict[str, Any]]:
    literal = st.sampled_from(LITERALS)
    return _some(const=literal) | _some(enum=st.lists(literal, min_size=1, max_size=4))


def _typed() -> st.SearchStrategy[dict[str, Any]]:
    names = ("string", "number", "integer", "object", "array", "null", "boolean")
    several = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)
    return _some(type=st.sampled_from(names) | several)


@st.composite
def _node(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Keywords of a type, or of two, in any order."""
    kinds = [numbers(), _strings(), _arrays(inner), _objects(inner), _applied(inner), _literal()]
    parts = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2))
    node = draw(_typed())
    for part in parts:
        node |= draw(part)
    return dict(draw(st.permutations(list(node.items()))))


def _subschemas() -> st.SearchStrategy[Any]:
    leaf = st.booleans() | _literal() | numbers() | _strings() | _typed()
    return st.recursive(leaf, _node, max_leaves=8)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    inner = _subschemas()
    return draw(_node(inner)) | {"$defs": {"p": draw(inner), "q": draw(inner)}}


def why_invalid(schema: dict[str, Any], answer: str) -> str | None:
    """The reason given by jsonschema, in decimal arithmetic. None if the answer is valid."""
    exact = json.loads(json.dumps(schema), parse_float=Decimal)
    error = next(_Exact(exact).iter_errors(json.loads(answer, parse_float=Decimal)), None)
    return None if error is None else f"{error.message} ({error.validator})"


def _multiple_of(validator: Any, step: Any, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if validator.is_type(value, "number") and Fraction(value) % Fraction(step):
        yield jsonschema.ValidationError(f"{value} is no multiple of {step}")


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    r"""A pattern with the semantics of JSON schema, where \w and \d match ASCII only."""
    if validator.is_type(value, "string") and not re.search(pattern, value, re.ASCII):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


_Exact = jsonschema.validators.extend(
    jsonschema.Draft202012Validator, {"multipleOf": _multiple_of, "pattern": _pattern}
)
