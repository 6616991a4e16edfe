"""What the images install: the tested versions, all that is needed, nothing for development."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.compose import ROOT
from tests.deploy.locks import FOLDER, entries, locked, names
from tools.sizes import our_bytes, wheel_bytes

SERVICES = {
    "encoder": {"encoder", "otel", "valkey"},
    "decoder": {"decoder", "otel", "postgres"},
    "gateway": {"gateway"},
}
LOCKS = sorted(FOLDER.glob("*.lock"))
CUDA, UNUSED = names(FOLDER / "cuda.in"), names(FOLDER / "unused.in")
OLD_PYTHON = {"async-timeout"}
"""The locks are for every Python 3.11, this one is for 3.11.2 and older."""
LIMIT = 60e6  # bytes of wheels

Asked = tuple[str, frozenset[str]]
"""A package and its extras."""


def asked_by(name: str, extras: frozenset[str]) -> set[Asked]:
    """What an installed package asks for, by its metadata."""
    found = set()
    for text in requires(name) or []:
        requirement, options = Requirement(text), ({"extra": extra} for extra in {"", *extras})
        if requirement.marker is None or any(requirement.marker.evaluate(option) for option in options):
            found.add((str(canonicalize_name(requirement.name)), frozenset(requirement.extras)))
    return found


def needed(extras: set[str], left_out: set[str]) -> set[str]:
    """All packages below ours, without those that are left out and what only they ask for."""
    seen: set[Asked] = set()
    waiting = asked_by("fovea", frozenset(extras))
    while waiting:
        asked = waiting.pop()
        if asked[0] not in left_out:
            seen.add(asked)
            waiting |= asked_by(*asked) - seen
    return {name for name, _ in seen}


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.stem for lock in LOCKS])
def test_an_image_has_the_versions_that_are_tested(lock: Path) -> None:
    assert not re.search(r"https?:|file:|--index|--extra-index|--find-links| @ ", lock.read_text())
    tested = {(name, version): hashes for name, version, hashes in entries(ROOT / "requirements.lock")}
    for name, version, hashes in entries(lock):
        assert hashes
        assert tested[name, version] == hashes, name


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_all_that_its_service_needs_and_no_more(service: str) -> None:
    found = set(locked(FOLDER / f"{service}.lock")) - OLD_PYTHON
    assert found == needed(SERVICES[service], CUDA | UNUSED)


@pytest.mark.parametrize("service", ["encoder", "decoder"])
def test_an_image_for_a_gpu_has_all_that_torch_asks_for(service: str) -> None:
    found = {*locked(FOLDER / f"{service}.lock"), *locked(FOLDER / "cuda.lock")} - OLD_PYTHON
    assert found == needed(SERVICES[service], UNUSED)


def test_nothing_for_development_is_in_an_image() -> None:
    for lock in LOCKS:
        assert not set(locked(lock)) & {"pytest", "mypy", "matplotlib", "transformers", "ruff", "pip"}, lock


@pytest.mark.long
@pytest.mark.parametrize("service", SERVICES)
def test_an_install_without_torch_stays_below_its_limit(service: str) -> None:
    """Asks the package index for the sizes of the wheels."""
    sizes = wheel_bytes(FOLDER / f"{service}.lock")
    assert "torch" not in sizes
    assert "numpy" in sizes
    assert sum(sizes.values()) + our_bytes() < LIMIT
