"""The formats of a checkpoint's answers: tried in a process that may be killed, then compiled here.

A format may cost any amount of time and memory, and only a trial shows how much. So each format is tried in a
child of the `nursery` with limits of both; the number of children is bounded. A format that passes is
compiled again in this process, on a thread of its own, because a compiled grammar cannot cross processes. A
caller that leaves has its child killed. Verdicts and grammars are remembered per tenant, so that a format
starts no sooner because another tenant has sent it. For a single event loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from decoder_svc.engine.protocol import EngineLimits, ResponseFormat
from decoder_svc.errors import FormatNotEnforceable
from decoder_svc.sampling.nursery import ChildLimits, Verdict
from fovea.contract.errors import EngineBusy, EngineUnavailable, FormatTooCostly, FoveaError

if TYPE_CHECKING:
    from decoder_svc.sampling.grammar import Grammar
    from decoder_svc.sampling.trie import TokenSet

COMMAND = (sys.executable, "-m", "decoder_svc.sampling.nursery")
# Both bounds are of all tenants together.
REMEMBERED = 256  # verdicts, so that a format that costs too much is refused at once the next time
KEPT = 16  # grammars, because callers that extract fields repeat their format
# Children share few cores with the engine. A child that takes this much longer than its CPU time is stuck.
PATIENCE_S, PATIENCE = 30.0, 10


class Formats:
    """`check` tries a format, `compile` compiles it."""

    def __init__(self, tokens: TokenSet, limits: EngineLimits) -> None:
        self._tokens = tokens
        self._limits = limits
        self._nursery = _NurseryProcess(
            tokens, ChildLimits(limits.max_format_s, limits.max_format_memory_bytes)
        )
        self._turns = asyncio.Semaphore(limits.format_workers)
        self._waiting = 0
        self._verdicts: dict[tuple[str, ResponseFormat], Verdict] = {}  # by tenant and format
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="formats")
        self._grammars = cache(lambda: Grammars(tokens))

    async def check(self, wanted: ResponseFormat, tenant: str) -> str:
        """The source of the format's grammar. Raises FormatNotEnforceable, FormatTooCostly or EngineBusy."""
        key = tenant, wanted
        verdict = self._verdicts.pop(key, None) or await self._tried(wanted, tenant)
        self._verdicts[key] = verdict  # at the end: the first verdict is the least recently used
        if len(self._verdicts) > REMEMBERED:
            del self._verdicts[next(iter(self._verdicts))]
        if failure := _failure(wanted, verdict, self._limits):
            raise failure
        return verdict.source

    async def compile(self, wanted: ResponseFormat, tenant: str) -> Grammar:
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

    async def _tried(self, wanted: ResponseFormat, tenant: str) -> Verdict:
        if self._waiting >= self._limits.max_waiting:
            limit, retry_after_s = self._limits.max_waiting, self._limits.max_format_s
            raise EngineBusy("max_waiting", limit, self._waiting + 1, retry_after_s)
        self._waiting += 1
        try:
            async with self._turns:
                return self._verdicts.get((tenant, wanted)) or await self._nursery.judge(wanted)
        finally:
            self._waiting -= 1


class Grammars:
    """Compiles grammars and keeps the latest of each tenant apart. Used by the compiler's thread only."""

    def __init__(self, tokens: TokenSet) -> None:
        from llguidance import LLExecutor  # only formats need llguidance

        self._tokenizer = tokens.load()
        self._executor = LLExecutor()
        self._kept = lru_cache(KEPT)(self._compile)

    def compile(self, wanted: ResponseFormat, source: str, tenant: str) -> Grammar:
        return self._kept(wanted, source, tenant).copy()

    def _compile(self, wanted: ResponseFormat, source: str, tenant: str) -> Grammar:
        from decoder_svc.sampling.grammar import Grammar, compiled

        return Grammar(compiled(self._tokenizer, source), self._executor, wanted.field)


class _NurseryProcess:
    """The nursery as a child process. The first format starts it; loading the tokens takes seconds."""

    def __init__(self, tokens: TokenSet, limits: ChildLimits) -> None:
        self._settings = {
            "tokens": [str(tokens.folder.resolve()), tokens.vocab_size, sorted(tokens.eos_ids)],
            "limits": asdict(limits),
        }
        self._patience_s = PATIENCE_S + PATIENCE * limits.cpu_s
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    async def judge(self, wanted: ResponseFormat) -> Verdict:
        """Try a format. Cancellation kills the child. Raises EngineUnavailable if the nursery has died."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._running(), [b"f"], [theirs.fileno()])
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            writer.write(json.dumps([wanted.kind, wanted.source]).encode())
            writer.write_eof()
            async with asyncio.timeout(self._patience_s):
                verdict = Verdict.parse(await reader.read())
        except TimeoutError:
            verdict = Verdict(died=signal.SIGPROF)
        except ConnectionError:
            verdict = None
        finally:
            writer.transport.abort()
        if verdict is None:
            self.close()
            raise EngineUnavailable("the process that tries formats has died")
        return verdict

    def close(self) -> None:
        if self._control is not None and self._process is not None:
            self._control.close()
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)  # and its children
            self._process.wait()
        self._control = self._process = None

    def _running(self) -> socket.socket:
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.close()
            self._control, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [*COMMAND, str(theirs.fileno()), json.dumps(self._settings)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C does not reach it, and it ends with its children
                    # A single thread: no other thread holds a lock when a child is forked.
                    env=os.environ
                    | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
                    | {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"},
                )
        return self._control


def _failure(wanted: ResponseFormat, verdict: Verdict, limits: EngineLimits) -> FoveaError | None:
    """What is wrong with a format, as an error for its caller."""
    field = wanted.field
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
