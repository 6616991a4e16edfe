"""Which JSON schemas are enforced. A schema is refused unless every keyword is known and enforced exactly.

llguidance ignores unknown keywords, reads settings of its own from the schema, and is inexact in some
combinations. The result here has only what llguidance enforces, in the latest draft's vocabulary. Does not
import llguidance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from decoder_svc.sampling import keywords as kw
from decoder_svc.sampling.bounds import Bounds
from decoder_svc.sampling.keywords import SchemaPath, Unenforceable, shown

MAX_DEPTH = 64
MAX_PATTERN_PROPERTIES = 64
"""llguidance proves each pair of patterns disjoint, which takes seconds for 300 patterns."""

Check = Callable[[SchemaPath, str, Any], Any]
ANNOTATIONS = {
    *("title", "description", "default", "examples", "$comment", "deprecated", "readOnly", "writeOnly"),
    *("contentMediaType", "contentEncoding", "contentSchema"),
}
VALUES: Mapping[str, Check] = {
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), kw.check_count),
    **dict.fromkeys(("minProperties", "maxProperties"), kw.check_count),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), kw.check_number),
    "multipleOf": kw.check_multiple,
    "type": kw.check_types,
    "required": kw.check_names,
    "format": kw.check_text,
    "pattern": kw.check_pattern,
    "const": kw.check_literal,
    "enum": kw.check_literals,
}
"""Keywords without subschemas."""
_APPLICATORS = ("const", "enum", "allOf", "anyOf", "oneOf", "$ref")
_LATEST = "https://json-schema.org/draft/2020-12/schema"
_DRAFTS = re.compile(r"https?://json-schema\.org/(draft/2019-09|draft-0[467])/schema#?")


def enforceable(text: str) -> dict[str, Any]:
    """The schema, reduced to what is enforced. Raises Unenforceable or TooCostly."""
    try:
        schema = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Unenforceable(f"not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise Unenforceable("must be a JSON object")
    return _Walk(schema).reduced()


def _refuse_constant(name: str) -> None:
    """NaN and Infinity, which Python accepts and RFC 8259 does not."""
    raise ValueError(f"{name} is no number")


class _Walk:
    """Walks a schema once and collects what must be checked on the whole."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = dict(schema)
        self._is_old = _names_old_draft(self._schema.pop("$schema", _LATEST))
        self._pointers: set[str] = set()
        self._references: list[tuple[SchemaPath, str]] = []
        self._bounds = Bounds()
        self._merges = False
        self._checks: Mapping[str, Check] = {
            **VALUES,
            **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions"), self._named),
            **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), self._listed),
            **dict.fromkeys(("items", "additionalProperties"), self._single),
            "$ref": self._reference,
        }

    def reduced(self) -> dict[str, Any]:
        if not isinstance(self._schema.pop("$id", ""), str):
            raise Unenforceable("$id must be a string")
        reduced: dict[str, Any] = self._node(self._schema, SchemaPath())
        if self._merges:
            self._bounds.check(SchemaPath())
        for path, target in self._references:
            if not {target, unquote(target)} & self._pointers:
                raise path.refuse("$ref", f"to {shown(target)} is not to a subschema of this schema")
        return reduced

    def _node(self, node: Any, path: SchemaPath) -> Any:
        self._pointers.add(path.pointer)
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            raise Unenforceable(f"{shown(path.pointer)} must be a schema: an object, true or false")
        if path.depth > 2 * MAX_DEPTH:  # a level is a keyword and usually a name
            raise path.too_costly("the nesting", MAX_DEPTH, path.depth // 2)
        reduced = {
            keyword: self._checks.get(keyword, kw.refuse_keyword)(path, keyword, value)
            for keyword, value in self._current(node, path).items()
        }
        self._check_together(reduced, path)
        return _applied_last(reduced)

    def _current(self, node: Mapping[str, Any], path: SchemaPath) -> dict[str, Any]:
        """The node in the latest draft's vocabulary, without annotations."""
        current = {keyword: value for keyword, value in node.items() if keyword not in ANNOTATIONS}
        if current.get("uniqueItems") is False:
            del current["uniqueItems"]
        if self._is_old and "prefixItems" in current:
            raise path.refuse("prefixItems", "is not in the draft that $schema names")
        if self._is_old:
            rest = current.pop("additionalItems", True)
            if isinstance(current.get("items"), list):
                current |= {"prefixItems": current["items"], "items": rest}
        return current

    def _check_together(self, reduced: Mapping[str, Any], path: SchemaPath) -> None:
        own = Bounds()
        for keyword in vars(own):
            for bounds in (own, self._bounds):
                vars(bounds)[keyword] |= {reduced[keyword]} if keyword in reduced else set()
        own.check(path)
        self._merges = self._merges or _merges(reduced)
        if reduced.get("minProperties", 0) > len(set(reduced.get("required", ()))) + 1:
            raise path.refuse(
                "minProperties", "above one more than `required` is not enforced: keys may repeat"
            )
        patterns = len(reduced.get("patternProperties", ()))
        if patterns > MAX_PATTERN_PROPERTIES:
            raise path.too_costly("the number of patternProperties", MAX_PATTERN_PROPERTIES, patterns)

    def _single(self, path: SchemaPath, keyword: str, value: Any) -> Any:
        return self._node(value, path / keyword)

    def _named(self, path: SchemaPath, keyword: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise path.refuse(keyword, "must be an object of schemas")
        check = kw.check_pattern if keyword == "patternProperties" else kw.check_text
        return {
            check(path, keyword, name): self._node(node, path / keyword / name)
            for name, node in value.items()
        }

    def _listed(self, path: SchemaPath, keyword: str, value: Any) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise path.refuse(keyword, "must be a list of schemas")
        return [self._node(node, path / keyword / at) for at, node in enumerate(value)]

    def _reference(self, path: SchemaPath, keyword: str, value: Any) -> str:
        target = kw.check_text(path, keyword, value)
        if not target.startswith("#"):
            raise path.refuse("$ref", f"to {shown(target)} is outside of this schema")
        self._references.append((path, target))
        return target


def _names_old_draft(draft: Any) -> bool:
    """Whether the draft is older than `prefixItems`. Raises Unenforceable if it is not a known draft."""
    if isinstance(draft, str) and draft.rstrip("#") == _LATEST:
        return False
    if isinstance(draft, str) and _DRAFTS.fullmatch(draft):
        return True
    raise Unenforceable("$schema names no draft from 4 to 2020-12")


def _applied_last(node: Mapping[str, Any]) -> dict[str, Any]:
    """The node with its applicators last: llguidance combines only the keywords before an applicator, and
    some change their meaning if they are not combined.
    """
    own = {keyword: value for keyword, value in node.items() if keyword not in _APPLICATORS}
    return own | {keyword: value for keyword, value in node.items() if keyword in _APPLICATORS}


def _merges(node: Mapping[str, Any]) -> bool:
    """Whether llguidance merges several schemas here, so that bounds of any two may apply to a number."""
    applied = {"allOf", "anyOf", "oneOf", "$ref"} & set(node)
    beside = set(node) - {"$defs", "definitions"}
    several = len(applied) > 1 or len(node.get("allOf", ())) > 1
    return several or bool(applied and beside - applied) or {"properties", "patternProperties"} <= beside
