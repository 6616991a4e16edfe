"""Compiling a costly format is aborted in its own process and blocks no other request."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from llguidance import LLMatcher, LLTokenizer

from decoder_svc.engine.protocol import ResponseFormat
from decoder_svc.errors import FormatNotEnforceable
from decoder_svc.sampling import grammar
from decoder_svc.sampling.formats import Formats
from decoder_svc.sampling.trial import Verdict
from fovea.contract.errors import EngineBusy, EngineUnavailable, FormatTooCostly, FoveaError
from tests.decoder.native_engine.harness import until
from tests.decoder.sampling.conftest import MAKE_FORMATS

GOOD = ResponseFormat("choice", ("red", "blue"))
# 60 KiB that take 9 s of CPU and some 100 MiB, and a list that takes 6 MiB.
SLOW = ResponseFormat("regex", ("".join(f"[{chr(97 + i % 26)}-z]?" for i in range(10_000)),))
LARGE = ResponseFormat("choice", tuple(f"word {number}" for number in range(5000)))
HOURS, PLENTY = 3600.0, 4 << 30


def nursery(formats: Formats) -> int:
    """The process id of the nursery."""
    pid = formats._nursery.pid
    assert pid is not None
    return pid


def children(formats: Formats) -> list[int]:
    pid = nursery(formats)
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def begun(formats: Formats, wanted: ResponseFormat) -> asyncio.Task[str]:
    """Starts a compilation in a child process."""
    await formats.check(GOOD, "acme")
    await until(lambda: not children(formats), seconds=60)
    trying = asyncio.create_task(formats.check(wanted, "acme"))
    await until(lambda: bool(children(formats)), seconds=60)
    return trying


async def refused(formats: Formats, wanted: ResponseFormat) -> FoveaError:
    with pytest.raises(FoveaError) as caught:
        await formats.check(wanted, "acme")
    return caught.value


async def test_time_has_a_limit_that_is_named(formats: MAKE_FORMATS) -> None:
    async with formats(max_format_s=0.2, max_format_memory_bytes=PLENTY) as tried:
        error = await refused(tried, SLOW)
        assert isinstance(error, FormatTooCostly)
        assert error.metadata == {"limit": "0.2", "actual": "above 0.2"}
        assert [v.field for v in error.violations] == ["response_format.regex"]
        assert await tried.check(GOOD, "acme")


async def test_memory_has_a_limit_that_is_named(formats: MAKE_FORMATS) -> None:
    limit = 1 << 20
    async with formats(max_format_memory_bytes=limit) as tried:
        error = await refused(tried, LARGE)
        assert isinstance(error, FormatTooCostly)
        assert error.metadata["limit"] == str(limit)
        assert "memory" in error.message
    async with formats() as tried:
        assert await tried.check(LARGE, "acme")


async def test_a_part_that_costs_too_much_is_named(formats: MAKE_FORMATS) -> None:
    async with formats() as tried:
        error = await refused(tried, ResponseFormat("json_schema", ('{"multipleOf": 999983}',)))
    assert isinstance(error, FormatTooCostly)
    assert error.metadata == {"limit": "10000", "actual": "999983"}
    assert "multipleOf" in error.violations[0].description


async def test_other_formats_compile_during_a_slow_compilation(formats: MAKE_FORMATS) -> None:
    async with formats(max_format_s=HOURS, max_format_memory_bytes=PLENTY, format_workers=2) as tried:
        slow = await begun(tried, SLOW)
        assert (await tried.compile(ResponseFormat("regex", ("a+",)), "acme")).failure is None
        assert not slow.done()
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


async def test_a_caller_that_leaves_has_its_child_killed(formats: MAKE_FORMATS) -> None:
    async with formats(max_format_s=HOURS, max_format_memory_bytes=PLENTY, format_workers=1) as tried:
        slow = await begun(tried, SLOW)
        (child,) = children(tried)
        slow.cancel()
        await until(lambda: not is_alive(child))
        assert await tried.check(ResponseFormat("regex", ("b+",)), "acme"), "its place is free"


async def test_closing_kills_compilations_at_once(formats: MAKE_FORMATS) -> None:
    async with formats(max_format_s=HOURS, max_format_memory_bytes=PLENTY) as tried:
        slow = await begun(tried, SLOW)
        pids = [nursery(tried), *children(tried)]
    with pytest.raises(EngineUnavailable):
        await slow
    await until(lambda: not any(map(is_alive, pids)))


async def test_a_verdict_is_cached(formats: MAKE_FORMATS, monkeypatch: pytest.MonkeyPatch) -> None:
    async with formats(max_format_s=0.2, max_format_memory_bytes=PLENTY) as tried:
        first = await refused(tried, SLOW)
        monkeypatch.delattr(tried, "_nursery")
        second = await refused(tried, SLOW)
        assert second is not first
        assert second.message == first.message
        monkeypatch.undo()


async def test_verdicts_and_grammars_of_a_tenant_are_not_those_of_another(
    formats: MAKE_FORMATS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second tenant's format is tried and compiled anew, so its time tells nothing of the first."""
    tried: list[ResponseFormat] = []
    compiled: list[str] = []
    async with formats() as cached:
        judge, compile = cached._judged, grammar.compiled

        async def counted_judge(wanted: ResponseFormat) -> Verdict:
            tried.append(wanted)
            return await judge(wanted)

        def counted_compile(tokenizer: LLTokenizer, source: str) -> LLMatcher:
            compiled.append(source)
            return compile(tokenizer, source)

        monkeypatch.setattr(cached, "_judged", counted_judge)
        monkeypatch.setattr(grammar, "compiled", counted_compile)
        counts = []
        for tenant in ("acme", "acme", "other", "other"):
            await cached.compile(GOOD, tenant)
            counts.append((len(tried), len(compiled)))
    assert counts == [(1, 1), (1, 1), (2, 2), (2, 2)]


@pytest.mark.long
async def test_a_nursery_that_was_killed_is_started_anew(formats: MAKE_FORMATS) -> None:
    async with formats(max_format_s=HOURS, max_format_memory_bytes=PLENTY) as tried:
        slow = await begun(tried, SLOW)
        (child,) = children(tried)
        os.kill(nursery(tried), signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            await slow
        assert await tried.check(ResponseFormat("regex", ("c+",)), "acme")


async def test_callers_beyond_the_queue_limit_get_a_retry_delay(formats: MAKE_FORMATS) -> None:
    async with formats(max_format_s=HOURS, max_format_memory_bytes=PLENTY, max_waiting=1) as tried:
        slow = await begun(tried, SLOW)
        assert isinstance(error := await refused(tried, ResponseFormat("regex", ("d+",))), EngineBusy)
        assert error.retry_after_s
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (ResponseFormat("regex", ("(a|b",)), "unclosed group"),
        (ResponseFormat("regex", ("(?=a)b",)), "look-around"),
        (ResponseFormat("regex", ("a\\\\\\",)), "lone backslash"),
        (ResponseFormat("json_schema", ("colour: red",)), "not JSON"),
        (ResponseFormat("json_schema", ('{}},{"lark_grammar":"start: /.*/"',)), "not JSON"),
        (ResponseFormat("json_schema", ('{"maximum": 18446744073709551616}',)), "maximum in #"),
        (ResponseFormat("json_schema", ('{"const": "\\ud83d"}',)), "surrogate"),
        (ResponseFormat("json_schema", ('{"enum": [1], "const": 2}',)), "Unsatisfiable"),
    ],
)
async def test_a_format_that_cannot_be_enforced_is_refused_by_field_with_the_reason(
    formats: MAKE_FORMATS, wanted: ResponseFormat, why: str
) -> None:
    async with formats() as tried:
        for ask in (tried.check, tried.compile):
            error = await _refusal(ask, wanted)
            assert why in error.message
            (violation,) = error.violations
            assert violation.field == f"response_format.{wanted.kind}"
            assert len(violation.description) <= 300


async def _refusal(ask: Callable[..., object], wanted: ResponseFormat) -> FormatNotEnforceable:
    with pytest.raises(FormatNotEnforceable) as caught:
        await ask(wanted, "acme")  # type: ignore[misc]
    return caught.value
