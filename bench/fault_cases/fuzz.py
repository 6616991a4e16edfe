"""Hostile input: drawn calls of every RPC against both services, and mutated files against the parsers.

The calls are drawn by hypothesis (`messages`), the files by atheris (`fuzz_target`), which follows the
coverage of our code. Failing inputs are written to build/fuzz/; the seed of the run draws them again.

Measures: `crashes` counts services and parsers that ended, `internal` and `unknown` the statuses of these
names, `hangs` calls and inputs without an end in `CALL_S`, `leaks` statuses and log lines with our insides.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from bench import services
from bench.fault_cases.leaks import IN_LOGS, leaks
from bench.fault_cases.messages import FuzzCall, Known, calls, told
from bench.host import ROOT, side
from bench.result import Measure, Result
from bench.runner import Run
from bench.services import Services
from fovea.cli.errors import ServiceDied
from fovea.client import EncoderClient
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from standin import model_dir

FOLDER = ROOT / "build" / "fuzz"
TARGETS = ("images", "client_images", "rows", "pdfs")
CALL_S = 30.0
TOGETHER = 16
"""Calls that run at once."""
KEPT_INPUTS = 50
HANG_STATUS = 70
"""With which libFuzzer leaves an input that took longer than `-timeout`."""
_EXECUTED = re.compile(r"number_of_executed_units: (\d+)|#(\d+)\s+(?:DONE|pulse|NEW|REDUCE)")


@dataclass(frozen=True)
class Effort:
    calls: int = 20_000
    inputs: int = 26_000
    documents: int = 2_000
    """Each PDF is read by processes of its own, as in the client: ten times the cost of a picture."""
    seconds: float = 600.0

    def runs(self, target: str) -> int:
        return self.documents if target == "pdfs" else self.inputs


def measure(run: Run) -> Result:
    effort = run.effort(Effort(), Effort(calls=96, inputs=200, documents=40, seconds=4.0))
    FOLDER.mkdir(parents=True, exist_ok=True)
    begun, counted = time.monotonic(), Counter[str]()
    rpc_calls(run, effort, counted)
    each_s = max(effort.seconds - (time.monotonic() - begun), 2.0 * len(TARGETS)) / len(TARGETS)
    for name in TARGETS:
        run.status(f"mutated {name}")
        parser_inputs(name, effort.runs(name), each_s, run.seed, run.folder, counted)
    return Result(
        config={"seed": run.seed, "failing_inputs": str(FOLDER.relative_to(ROOT)), **vars(effort)},
        sides={"ours": side("fovea")},
        measures=measures(counted, effort, time.monotonic() - begun),
        notes=[f"{name}: {count}" for name, count in sorted(counted.items())],
    )


def measures(counted: Counter[str], effort: Effort, seconds: float) -> dict[str, Measure]:
    done = counted["calls"] + sum(counted[name] for name in TARGETS)
    wanted = effort.calls + sum(map(effort.runs, TARGETS))
    names = ("crashes", "internal", "unknown", "hangs", "leaks")
    none = {name: Measure("count", counted[name], done, target=0, sense="at most") for name in names}
    return {
        "cases": Measure("count", done, done, target=wanted),
        "seconds": Measure("s", seconds, 1, target=effort.seconds),
        **none,
    }


def rpc_calls(run: Run, effort: Effort, counted: Counter[str]) -> None:
    """Draw calls of both services and make them, `TOGETHER` at a time."""
    encoder, decoder = services.pair(
        model_dir(), run.folder, ("--log-level", "info"), encoder_flags=("--arena-bytes", str(64 << 20))
    )
    running = run.start(encoder, decoder)
    known = _known(encoder.address)
    pool = run.stack.enter_context(ThreadPoolExecutor(TOGETHER))
    addresses = (encoder.address, decoder.address)
    channels = {at: run.stack.enter_context(grpc.insecure_channel(at)) for at in addresses}
    pairs = [(encoder.address, method) for method in _methods(encoder_pb2)]
    pairs += [(decoder.address, method) for method in _methods(decoder_pb2, health_pb2, reflection_pb2)]
    address_of = {method.full_name: address for address, method in pairs}
    batches = st.lists(calls([method for _, method in pairs], known), min_size=TOGETHER, max_size=TOGETHER)

    @seed(run.seed)
    @settings(
        max_examples=-(-effort.calls // TOGETHER), database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet,
    )  # fmt: skip
    @given(batches)
    def make(batch: list[FuzzCall]) -> None:
        if counted["crashes"]:
            return
        for call, error in zip(batch, pool.map(ended, batch), strict=True):
            if error is not None:
                _count(error, call, counted)
        counted["calls"] += len(batch)
        run.status(f"{counted['calls']} calls")
        _check_services(running, batch, counted)

    def ended(call: FuzzCall) -> grpc.RpcError | None:
        return _ended(channels[address_of[call.method.full_name]], call)

    make()
    if not counted["crashes"]:
        _known(encoder.address)  # it must still serve what is valid


def _known(encoder: str) -> Known:
    """Two stored images and the files of them."""
    files = []
    for format in ("PNG", "JPEG"):
        out = io.BytesIO()
        Image.linear_gradient("L").resize((96, 64)).save(out, format)
        files.append(out.getvalue())
    with EncoderClient(encoder) as client:
        digests = [client.put(file).facts.digest for file in files]
    return Known(digests, files)


def _methods(*files: Any) -> list[MethodDescriptor]:
    found = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    return [method for service in found for method in service.methods if method.name not in ("List", "Watch")]


def _ended(channel: grpc.Channel, call: FuzzCall) -> grpc.RpcError | None:
    """Make a call as a proxy would: any messages, whatever the method takes.

    Not with gRPC's asyncio client: it loses a status that arrives while it writes, and reports INTERNAL.
    """
    begin: Any = channel.stream_stream if call.method.server_streaming else channel.stream_unary
    try:
        if not call.method.server_streaming:
            begin(call.path)(iter(call.requests), timeout=CALL_S)
            return None
        made = begin(call.path)(iter(call.requests), timeout=CALL_S)
        for _ in made:
            if call.leaves:
                made.cancel()
    except grpc.RpcError as error:
        return None if call.leaves and error.code() is grpc.StatusCode.CANCELLED else error
    return None


def _count(error: grpc.RpcError, call: FuzzCall, counted: Counter[str]) -> None:
    code = error.code()
    kind = {
        grpc.StatusCode.INTERNAL: "internal",
        grpc.StatusCode.UNKNOWN: "unknown",
        grpc.StatusCode.DEADLINE_EXCEEDED: "hangs",
    }.get(code)
    texts = [error.details() or "", *_metadata(dict(error.trailing_metadata() or ()))]
    own = [text for request in call.requests for text in _sent(request)]
    counted[f"status {code.name}"] += 1
    for name in (kind, "leaks" if leaks(texts, own) else None):
        if name is not None:
            counted[name] += 1
            _keep(name, {**told(call), "code": code.name, "texts": texts}, counted)


def _metadata(trailing: dict[str, Any]) -> list[str]:
    """The values of ErrorInfo, which machines show to people."""
    status = status_pb2.Status.FromString(trailing.get("grpc-status-details-bin", b""))
    texts = []
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            texts += error_details_pb2.ErrorInfo.FromString(detail.value).metadata.values()
    return texts


def _sent(request: bytes) -> list[str]:
    """What the caller wrote himself, which an error may repeat."""
    return [text for text in re.findall(r"[\x20-\x7e]{4,}", request.decode("latin-1")) if len(text) > 3]


def _check_services(running: Services, batch: list[FuzzCall], counted: Counter[str]) -> None:
    """Count a dead service with the calls that were running, and log lines with our insides."""
    for child in running.running:
        lines = [child.tail.popleft() for _ in range(len(child.tail))]
        if leaked := leaks(lines, pattern=IN_LOGS):
            counted["leaks"] += len(leaked)
            _keep("log", {"lines": leaked}, counted)
    try:
        running.children.check()
    except ServiceDied:
        counted["crashes"] += 1
        _keep("crash", {"calls": [told(call) for call in batch]}, counted)


def _keep(name: str, content: dict[str, Any], counted: Counter[str]) -> None:
    counted["inputs kept"] += 1
    if counted["inputs kept"] <= KEPT_INPUTS:
        file = FOLDER / f"{name}-{counted['inputs kept']}.json"
        file.write_text(json.dumps(content, indent=1), encoding="utf-8")


def parser_inputs(
    name: str, runs: int, seconds: float, seed: int, folder: Path, counted: Counter[str]
) -> None:
    """Run a parser under atheris for `seconds`, and on until it has parsed `runs` inputs."""
    corpus, begun = folder / name, time.monotonic()
    corpus.mkdir(exist_ok=True)
    while time.monotonic() - begun < seconds or counted[name] < runs:
        left = max(1, int(seconds - (time.monotonic() - begun)))
        limits = [f"-max_total_time={left}"] if counted[name] >= runs else [f"-runs={runs - counted[name]}"]
        code, executed = _libfuzzer(name, corpus, limits, seed + counted[name])
        counted[name] += executed
        if code:
            counted["hangs" if code == HANG_STATUS else "crashes"] += 1
        if (code and counted["crashes"] > KEPT_INPUTS) or not (code or executed):
            return


def _libfuzzer(name: str, corpus: Path, limits: list[str], seed: int) -> tuple[int, int]:
    """The exit status, and how many inputs were parsed."""
    options = [f"-artifact_prefix={FOLDER}/{name}-", f"-seed={seed + 1}", f"-timeout={CALL_S:.0f}", *limits]
    command = [sys.executable, "-m", "bench.fault_cases.fuzz_target", name, str(corpus)]
    done = subprocess.run(
        [*command, *options, "-max_len=8192", "-rss_limit_mb=2048", "-print_final_stats=1"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", check=False,
    )  # fmt: skip
    counts = [int(first or second) for first, second in _EXECUTED.findall(done.stderr)]
    if done.returncode:
        (FOLDER / f"{name}.log").write_text(done.stderr[-20_000:], encoding="utf-8")
    return done.returncode, max(counts, default=0)
