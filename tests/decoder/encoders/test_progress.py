"""How long a call waits for an encoder that gives no sign of life."""

from __future__ import annotations

import asyncio

import pytest

from decoder_svc.encoders.progress import DEAD_CHECKS, NoProgress, ProgressTimeout


@pytest.mark.parametrize(("replaceable", "checks"), [(True, 1), (False, DEAD_CHECKS)])
async def test_an_encoder_that_another_can_replace_is_given_up_after_a_single_check(
    replaceable: bool, checks: int
) -> None:
    asked = 0

    async def unanswered() -> None:
        nonlocal asked
        asked += 1

    timeout = ProgressTimeout(600.0, unanswered, replaceable=lambda: replaceable)
    with pytest.raises(NoProgress):
        await timeout.wait(asyncio.Event().wait())
    assert asked == checks


async def test_a_check_is_bounded_if_another_encoder_can_replace_this_one() -> None:
    async def silent() -> None:
        await asyncio.Event().wait()

    with pytest.raises(NoProgress):
        await ProgressTimeout(600.0, silent, replaceable=lambda: True).wait(asyncio.Event().wait())


async def test_a_call_waits_while_an_encoder_that_another_can_replace_answers_checks() -> None:
    checked = asyncio.Event()

    async def alive() -> int:
        checked.set()
        return 0

    timeout = ProgressTimeout(600.0, alive, replaceable=lambda: True)
    assert await timeout.wait(checked.wait())
