"""The encoder's state while its store opens: what needs the store is refused with a delay, the rest answers."""

from __future__ import annotations

from typing import Any

import pytest

from encoder_svc.permits import WritePermits
from encoder_svc.state import ServiceState
from encoder_svc.tenant import Tenant
from fovea.contract.errors import NotReady


async def test_calls_that_need_the_store_wait_until_it_is_open() -> None:
    description: Any = None
    state, tenant = ServiceState(description, WritePermits()), Tenant.of("acme")
    with pytest.raises(NotReady):
        _ = state.uploads
    for call in (state.cache_stats(), state.purge(tenant), state.delete(tenant, "sha256:" + "0" * 64)):
        with pytest.raises(NotReady):
            await call
    assert state.serving_state == "LOADING"
    assert not state.erasure_due
    assert not state.load().waiting
