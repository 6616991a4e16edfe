"""Keys agree with their pinned values in every process; every option and every pitfall does what it must."""

from __future__ import annotations

import json

import pytest

from bench.fault_cases import keys, pitfalls


def test_digests_and_keys_are_pinned() -> None:
    """A change makes stored records unreachable: raise a revision with it."""
    assert keys.digests() == json.loads(keys.PINNED.read_text(encoding="utf-8"))


@pytest.mark.long
@pytest.mark.parametrize("seed", keys.SEEDS)
def test_digests_do_not_depend_on_the_hash_seed(seed: str) -> None:
    assert keys._in_a_process(seed) == keys.digests()


def test_every_option_changes_its_key_exactly_if_it_must() -> None:
    assert [name for name, right in keys.options().items() if not right] == []


def test_every_field_of_a_row_request_is_flipped() -> None:
    flipped = {name.split()[0] for name in keys._requests()}
    assert flipped == set(keys.REQUEST.__dataclass_fields__)


@pytest.mark.parametrize("pair", pitfalls.PAIRS, ids=lambda pair: pair.name)
def test_files_that_pillow_confuses(pair: pitfalls.Pair) -> None:
    assert pitfalls.outcome(pair) == pair.expected
