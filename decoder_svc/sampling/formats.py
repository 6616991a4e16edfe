"""The formats of a checkpoint's answers: tried in a process that may be killed, then compiled here.

A format may cost any amount of time and memory, and only a trial shows how much. So each format is tried in a
child of a nursery with limits of both; the number of children is bounded. A format that passes is
compiled again in this process, on a thread of its own, because a compiled grammar cannot cross processes. A
caller that leaves has its child killed. Verdicts and grammars are remembered per tenant, so that a format
starts no sooner because another tenant has sent it. For a single event loop.
"""

from __future__ import annotations

import asyncio
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from decoder_svc.engine.protocol import EngineLimits, Wanted
from decoder_svc.errors import FormatNotEnforceable
from decoder_svc.sampling.trial import Verdict
from fovea.contract.errors import EngineBusy, EngineUnavailable, FormatTooCostly, FoveaError
from fovea.nursery.frames import FrameInvalid, Header
from fovea.nursery.limits import ChildLimits
from fovea.nursery.process import ChildDied, NurseryProcess

if TYPE_CHECKING:
    from decoder_svc.sampling.grammar import Grammar
    from decoder_svc.sampling.trie import TokenSet

TRIAL = "decoder_svc.sampling.trial"
MAX_VERDICT_BYTES = 64 * 1024 * 1024
# Both bounds are of all tenants together.
REMEMBERED = 256  # verdicts, so that a format that costs too much is refused at once the next time
KEPT = 16  # grammars, because callers that extract fields repeat their format


class Formats:
    """`check` tries a format, `compile` compiles it."""

    def __init__(self, tokens: TokenSet, limits: EngineLimits) -> None:
        self._tokens = tokens
        self._limits = limits
        self._nursery = NurseryProcess(
            TRIAL,
            {"tokens": tokens.packed()},
            ChildLimits(limits.max_format_s, limits.max_format_memory_bytes),
        )
        self._turns = asyncio.Semaphore(limits.format_workers)
        self._waiting = 0
        self._verdicts: dict[tuple[str, Wanted], Verdict] = {}  # by tenant and format
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="formats")
        self._grammars = cache(lambda: Grammars(tokens))

    async def check(self, wanted: Wanted, tenant: str) -> str:
        """The source of the format's grammar. Raises FormatNotEnforceable, FormatTooCostly or EngineBusy."""
        key = tenant, wanted
        verdict = self._verdicts.pop(key, None) or await self._tried(wanted, tenant)
        self._verdicts[key] = verdict  # at the end: the first verdict is the least recently used
        if len(self._verdicts) > REMEMBERED:
            del self._verdicts[next(iter(self._verdicts))]
        if failure := _failure(wanted, verdict, self._limits):
            raise failure
        return verdict.source

    async def compile(self, wanted: Wanted, tenant: str) -> Grammar:
        """The grammar at its start. Raises what `check` raises."""
        source = await self.check(wanted, tenant)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._compiler, lambda: self._grammars().compile(wanted, source, tenant)
        )

    def close(self) -> None:
        """Kill all trials. Waits for nothing."""
        self._nursery.close()
        self._compiler.shutdown(wait=False, cancel_futures=True)

    async def _tried(self, wanted: Wanted, tenant: str) -> Verdict:
        if self._waiting >= self._limits.max_waiting:
            limit, retry_after_s = self._limits.max_waiting, self._limits.max_format_s
            raise EngineBusy("max_waiting", limit, self._waiting + 1, retry_after_s)
        self._waiting += 1
        try:
            async with self._turns:
                return self._verdicts.get((tenant, wanted)) or await self._judged(wanted)
        finally:
            self._waiting -= 1

    async def _judged(self, wanted: Wanted) -> Verdict:
        """Try a format. Cancellation kills the child. Raises EngineUnavailable if the nursery has died."""
        verdict = bytearray()

        def receive(_: Header, size: int) -> bytearray:
            if size > MAX_VERDICT_BYTES:
                raise FrameInvalid(f"a verdict of {size} bytes")
            verdict.extend(bytes(size))
            return verdict

        child = self._nursery.child()
        try:
            await child.ask({}, json.dumps([wanted.kind, wanted.source]).encode(), receive)
        except ChildDied as died:
            if died.status is not None:
                return Verdict(died=died.status)
            raise EngineUnavailable("the process that tries formats has died") from None
        child.close()
        return Verdict.parse(verdict)


class Grammars:
    """Compiles grammars and keeps the latest of each tenant apart. Used by the compiler's thread only."""

    def __init__(self, tokens: TokenSet) -> None:
        from llguidance import LLExecutor  # only formats need llguidance

        self._tokenizer = tokens.load()
        self._executor = LLExecutor()
        self._kept = lru_cache(KEPT)(self._compile)

    def compile(self, wanted: Wanted, source: str, tenant: str) -> Grammar:
        return self._kept(wanted, source, tenant).copy()

    def _compile(self, wanted: Wanted, source: str, tenant: str) -> Grammar:
        from decoder_svc.sampling.grammar import Grammar, compiled

        return Grammar(compiled(self._tokenizer, source), self._executor, wanted.field)


def _failure(wanted: Wanted, verdict: Verdict, limits: EngineLimits) -> FoveaError | None:
    """What is wrong with a format, as an error for its caller."""
    field = verdict.field or wanted.field
    if verdict.costly is not None:
        return FormatTooCostly(field, *verdict.costly)
    if verdict.died == signal.SIGPROF:
        return FormatTooCostly(field, "the CPU time to compile it, in seconds,", limits.max_format_s)
    if verdict.died in (signal.SIGABRT, signal.SIGKILL):
        return FormatTooCostly(field, "the memory to compile it, in bytes,", limits.max_format_memory_bytes)
    if verdict.died == signal.SIGSEGV:
        return FormatNotEnforceable(field, "it is nested too deeply")
    if verdict.died:
        return FormatNotEnforceable(field, "llguidance gave it up")
    return FormatNotEnforceable(field, verdict.refused) if verdict.refused else None
