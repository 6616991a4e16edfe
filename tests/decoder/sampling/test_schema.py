"""Supported schema keywords. Keywords that are not enforced exactly are refused with their path."""

from __future__ import annotations

import json
from typing import Any

import pytest

from decoder_svc.sampling.keywords import LARGEST, MAX_MULTIPLE, TooCostly, Unenforceable
from decoder_svc.sampling.schema import MAX_DEPTH, MAX_PATTERN_PROPERTIES, enforceable


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "integer"}
    for _ in range(levels):
        inner = {"type": "object", "properties": {"a": inner}}
    return inner


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"typ": "object"}, "typ in #"),
        ({"type": "string", "minLenght": 3}, "minLenght in #"),
        ({"type": "object", "properties": {"a": {"maximun": 3}}}, "maximun in #/properties/a"),
        ({"type": "string", "nullable": True}, "nullable"),
        ({"x-guidance": {"item_separator": ";"}, "type": "array"}, "x-guidance"),
        ({"items": {"x-guidance": {}}}, "x-guidance in #/items"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {"type": "null"}}, "not in #"),
        ({"if": {}, "then": {}}, "if in #"),
        ({"dependentRequired": {"a": ["b"]}}, "dependentRequired"),
        ({"propertyNames": {"maxLength": 2}}, "propertyNames"),
        ({"type": "array", "contains": {}}, "contains"),
        ({"anyOf": [{"unevaluatedProperties": False}]}, "unevaluatedProperties in #/anyOf/0"),
        ({"type": "objct"}, "objct"),
        ({"type": "integer", "maximum": 2**64}, f"{LARGEST}"),
        ({"type": "integer", "minimum": -(2**63)}, f"{LARGEST}"),
        ({"type": "number", "maximum": 1e300}, f"{LARGEST}"),
        ({"enum": ["a", 10**20]}, f"{LARGEST}"),
        ({"const": {"a": [2**53]}}, f"{LARGEST}"),
        ({"type": "integer", "maximum": True}, "must be a number"),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, "must be a number"),
        ({"type": "string", "minLength": -1}, "integer from 0"),
        ({"type": "string", "maxLength": 2.5}, "integer from 0"),
        ({"type": "string", "maxLength": 2**63}, "maxLength"),
        ({"const": "\ud83d"}, "surrogate"),
        ({"enum": [{"\udfff": 1}]}, "surrogate"),
        ({"properties": {"a\ud800": {}}}, "surrogate"),
        ({"required": ["\udc00"]}, "surrogate"),
        ({"type": "string", "pattern": "\ud800"}, "surrogate"),
        ({"const": "\x00"}, "control character"),
        ({"type": "object", "minProperties": 2}, "keys may repeat"),
        ({"required": ["a", "a"], "minProperties": 3}, "keys may repeat"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, "exclusiveMinimum"),
        ({"exclusiveMinimum": 2, "exclusiveMaximum": 2.25}, "exclusiveMinimum"),
        ({"type": "number", "exclusiveMaximum": -1, "minimum": -1.5}, "exclusiveMaximum"),
        ({"type": "number", "exclusiveMaximum": 0, "exclusiveMinimum": -0.5}, "exclusiveMaximum"),
        ({"allOf": [{"exclusiveMinimum": 0}, {"maximum": 0.5}]}, "exclusiveMinimum"),
        ({"$defs": {"a": {"maximum": 0.5}}, "$ref": "#/$defs/a", "exclusiveMinimum": 0}, "exclusiveMinimum"),
        ({"type": "number", "multipleOf": 0}, "above 0"),
        ({"type": "number", "multipleOf": 0.07}, "not enforced exactly"),
        ({"$ref": "https://example.com/schema"}, "outside"),
        ({"$ref": "#/$defs/b", "$defs": {"a": {}}}, "not to a subschema"),
        ({"$ref": "#/default", "default": {"typ": "integer"}}, "not to a subschema"),
        ({"$schema": "https://example.com/draft"}, "$schema"),
        ({"items": [{"type": "integer"}]}, "#/items"),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "prefixItems": [True]}, "prefixItems"),
        ({"enum": []}, "at least one"),
        ({"anyOf": []}, "list of schemas"),
        ({"properties": []}, "object of schemas"),
        ({"required": "a"}, "list of strings"),
        ({"type": "string", "pattern": "(?i)a"}, "(?i)"),
        ({"type": "string", "pattern": "[a-z&&[^b]]"}, "not every engine"),
        ({"type": "string", "pattern": "a{1,}+"}, "not every engine"),
        ({"type": "string", "pattern": r"\Aa\z"}, "not every engine"),
    ],
    ids=lambda value: value if isinstance(value, str) else json.dumps(value)[:60],
)
def test_unenforceable_schemas_are_refused_by_keyword(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(Unenforceable) as refused:
        enforceable(json.dumps(schema))
    assert why in str(refused.value)
    assert str(refused.value).encode()


@pytest.mark.parametrize("text", ['{"maximum": NaN}', '{"enum": [Infinity]}', "{", "[" * 60_000, "9" * 5000])
def test_invalid_json_is_refused(text: str) -> None:
    with pytest.raises(Unenforceable, match="not JSON"):
        enforceable(text)


@pytest.mark.parametrize(
    ("schema", "limit", "actual"),
    [
        ({"type": "integer", "multipleOf": 999_983}, MAX_MULTIPLE, 999_983),
        ({"type": "number", "multipleOf": 123.457}, MAX_MULTIPLE, 123_457),
        ({"allOf": [{"multipleOf": 97}, {"multipleOf": 89}, {"multipleOf": 2}]}, MAX_MULTIPLE, 17_266),
        ({"$ref": "#/$defs/a", "multipleOf": 101, "$defs": {"a": {"multipleOf": 103}}}, MAX_MULTIPLE, 10_403),
        ({"patternProperties": {f"^{i}$": {} for i in range(99)}}, MAX_PATTERN_PROPERTIES, 99),
        (nested(MAX_DEPTH + 1), MAX_DEPTH, MAX_DEPTH + 1),
    ],
)
def test_a_part_that_costs_too_much_is_refused_with_limit_and_value(
    schema: dict[str, Any], limit: int, actual: int
) -> None:
    with pytest.raises(TooCostly) as refused:
        enforceable(json.dumps(schema))
    assert (refused.value.limit, refused.value.actual) == (limit, actual)


def test_annotations_are_accepted_and_ignored() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/invoice",
        "title": "An invoice",
        "type": "object",
        "properties": {"total": {"type": "number", "description": "half a pair: \ud800", "default": 2**70}},
        "examples": [{"x-guidance": 1}],
    }
    kept = {"type": "object", "properties": {"total": {"type": "number"}}}
    assert enforceable(json.dumps(schema)) == kept


def test_old_schema_drafts_are_translated() -> None:
    old = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "items": [{"type": "integer"}],
        "additionalItems": False,
    }
    assert enforceable(json.dumps(old)) == {"prefixItems": [{"type": "integer"}], "items": False}


def test_numbers_that_doubles_represent_exactly_are_accepted() -> None:
    schema = {"enum": [LARGEST, -LARGEST, 0.1, 12.0]}
    assert enforceable(json.dumps(schema)) == schema


def test_constraints_on_different_numbers_do_not_conflict() -> None:
    """Bounds of different properties are independent, and so are multiples of 100 and of 101."""
    fields = [{"exclusiveMinimum": 0}, {"maximum": 0.5}, {"multipleOf": 101}, {"multipleOf": 100}]
    schema = {"type": "object", "properties": {f"f{i}": field for i, field in enumerate(fields)}}
    assert enforceable(json.dumps(schema)) == schema


def test_related_keywords_are_kept_together() -> None:
    schema = {"prefixItems": [{"type": "integer"}], "anyOf": [{"maxItems": 3}], "items": False}
    assert list(enforceable(json.dumps(schema))) == ["prefixItems", "items", "anyOf"]
