"""Answers under an accepted schema are valid according to jsonschema.

Schemas are drawn from all keywords; answers are sampled at random from the allowed next bytes.
"""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from decoder_svc.sampling.grammar import compiled
from decoder_svc.sampling.keywords import TooCostly, Unenforceable
from decoder_svc.sampling.source import grammar_source
from tests.decoder.sampling.schemas import numbers, schemas, why_invalid

BYTES = LLTokenizer("byte")
ENDING, USUAL = b'"}],', b' \\abcxyz0159.-+kK_"{}[]:,\n'
CHECKED = settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def walk(matcher: LLMatcher, chance: random.Random, longest: int = 200) -> str | None:
    """A random answer that tends to its end. None if it does not end."""
    matcher, said = matcher.deep_copy(), bytearray()
    for _ in range(longest):
        bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
        may_come = set(np.flatnonzero(bits).tolist())
        may_end = BYTES.eos_token in may_come
        may_come.discard(BYTES.eos_token)
        if may_end and (not may_come or chance.random() < 0.3):
            return said.decode()
        wish = ENDING if chance.random() < 0.3 else USUAL if chance.random() < 0.9 else range(256)
        said.append(chance.choice(sorted(may_come.intersection(wish) or may_come)))
        matcher.consume_token(said[-1])
    return None


def answers(schema: dict[str, Any], seed: int, tries: int = 8) -> list[str]:
    """Some allowed answers. Empty if the schema is refused."""
    try:
        matcher = compiled(BYTES, grammar_source("json_schema", [json.dumps(schema)]))
    except (Unenforceable, TooCostly):
        return []
    chance = random.Random(seed)
    return [said for _ in range(tries) if (said := walk(matcher, chance)) is not None]


@pytest.mark.long
@CHECKED
@given(schema=schemas(), seed=st.integers(0, 2**32))
def test_answers_under_a_schema_are_valid(schema: dict[str, Any], seed: int) -> None:
    for answer in answers(schema, seed):
        if "e" in answer.lower() and any(char.isdigit() for char in answer):
            continue  # 1e99999 is a number, of more digits than the judge can count
        assert why_invalid(schema, answer) is None, (schema, answer)


@CHECKED
@given(bounds=numbers(), kind=st.sampled_from(("number", "integer")), seed=st.integers(0, 2**32))
def test_numbers_stay_within_their_bounds(bounds: dict[str, Any], kind: str, seed: int) -> None:
    """Tested separately, because wrong combinations of bounds are rare among all keywords."""
    schema = {"type": kind, **bounds}
    for answer in answers(schema, seed, tries=20):
        assert "e" in answer.lower() or why_invalid(schema, answer) is None, (schema, answer)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "number", "exclusiveMinimum": -0.5, "exclusiveMaximum": 0.5},
        {"type": "integer", "exclusiveMinimum": 0, "maximum": 1.5},
        {"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 2},
        {"allOf": [{"multipleOf": 4}, {"multipleOf": 6}], "type": "integer", "minimum": 0, "maximum": 99},
        {"properties": {"a": {"type": "integer"}}, "minProperties": 1, "additionalProperties": False},
        {"type": "object", "required": ["a"], "minProperties": 2, "additionalProperties": {"type": "null"}},
        {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 2}]},
        {"items": {"const": "Ω"}, "prefixItems": [{"const": "e\u0301"}], "type": "array", "maxItems": 3},
    ],
    ids=json.dumps,
)
def test_schemas_of_common_kinds_are_enforced_and_not_refused(schema: dict[str, Any]) -> None:
    said = answers(schema, 1, tries=60)
    assert said
    assert [(answer, why) for answer in said if (why := why_invalid(schema, answer))] == []


def test_no_escape_disguises_a_key_that_has_a_schema() -> None:
    """`\\u0061` is an `a`. As an additional property it would accept anything."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    matcher = compiled(BYTES, grammar_source("json_schema", [json.dumps(schema)]))
    assert matcher.deep_copy().try_consume_tokens(list(b'{"a":1}')) == 7
    assert matcher.try_consume_tokens(list(b'{"\\u0061":"x"}')) < 9
