"""Readiness is the AND of its conditions; draining is final."""

from __future__ import annotations

import pytest

from fovea.server.health import NOT_SERVING, SERVING, Health


@pytest.fixture
def health() -> Health:
    return Health(("", "service", "readiness"), ("liveness",))


def ready(health: Health) -> bool:
    assert health._status["liveness"] == SERVING
    (status,) = {health._status[name] for name in ("", "service", "readiness")}
    return {SERVING: True, NOT_SERVING: False}[status]


async def test_health_serves_after_the_start(health: Health) -> None:
    assert not ready(health)
    health.set("started", True)
    assert ready(health)


async def test_every_condition_must_be_met(health: Health) -> None:
    health.set("encoders", False)
    health.set("started", True)
    assert not ready(health)
    health.set("engine", False)
    health.set("encoders", True)
    assert not ready(health)
    health.set("engine", True)
    assert ready(health)
    health.set("encoders", False)
    assert not ready(health)


async def test_draining_is_final(health: Health) -> None:
    health.set("started", True)
    health.drain()
    health.set("encoders", True)
    assert not ready(health)
