"""The gateway against the Python client: the same requests, over HTTP and over gRPC, to the same services.

Both sides send new pictures and read the answer as a stream; the gateway's as data URIs. The sides take
turns, and the first of a turn alternates. `cancel_ms` is the time from the moment an HTTP client closes its
connection until the engine has a free slot, as GetServerInfo reports it. `grid_ms` is the time from the drop
of a picture of a megapixel on the page to its grid, from the trace of a browser; it is owed without Chromium.
"""

from __future__ import annotations

import io
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from statistics import median
from typing import Any

from PIL import Image

from bench import runner, services
from bench.host import side
from bench.parts import page_trace
from bench.parts.completions import Question, TimedCompletion, completion_body, time_completion
from bench.parts.page_trace import browser_path
from bench.parts.photo import photos
from bench.parts.timing import Round, TimedAnswer, time_answer, time_round
from bench.result import Measure, Result
from bench.runner import Run
from bench.serving import endless
from bench.turns import ms_since
from fovea.cli.children import Launch
from fovea.cli.readiness import answers_http, wait_until_ready
from fovea.cli.serve import launch_gateway
from fovea.client import Client, Sampling
from standin import model_dir

MODEL = "fovea-standin"
CONCURRENCIES = (1, 8)
SIDE = 256
SERIES = 70
"""Of photos, the first; each concurrency has its own."""
TTFT_TARGET, TOKENS_TARGET, CANCEL_TARGET_MS = 1.1, 0.9, 200.0
GRID_SIDE, GRID_SERIES, GRID_TARGET_MS = 1024, 90, 300.0
POLL_S = 0.002
START_S, CALL_S = 60.0, 120.0


@dataclass(frozen=True)
class Effort:
    """Rounds of each concurrency, in which every caller sends a request; streams that are left; pages."""

    rounds: int = 24
    tokens: int = 64
    cancels: int = 40
    grids: int = 12


QUICK = Effort(rounds=6, tokens=16, cancels=8, grids=3)
AskRound = Callable[[Sequence[Question]], Round]
Rounds = Mapping[str, Sequence[Round]]


def measure(run: Run) -> Result:
    effort = run.effort(Effort(), QUICK)
    model = endless(model_dir(), run.folder / model_dir().name)
    launched = services.pair(model, run.folder / "cache", decoder_flags=["--served-model-name", MODEL])
    group = run.start(*launched)
    decoder = launched[-1].address
    gateway = _gateway(run, group, decoder)
    client = run.stack.enter_context(Client(decoder))
    sides = {"gateway": _over_http(gateway), "client": _over_grpc(client)}
    rounds: dict[int, Rounds] = {}
    for concurrency in CONCURRENCIES:
        run.status(f"{concurrency} callers")
        rounds[concurrency] = _ask_in_turns(sides, concurrency, effort, run.seed)
    run.status("clients that leave")
    cancel_ms = [_left_ms(gateway, client, effort) for _ in range(effort.cancels)]
    run.status("the page")
    grids = _grid_ms(gateway, effort.grids, run.seed)
    return Result(
        config={"model": model_dir().name, "image": [SIDE, SIDE], "dtype": "fp32", **vars(effort)},
        sides={"ours": side("fovea", **_figures(rounds)), "client": {"version": "fovea.client", "args": ""}},
        measures=measures(rounds, cancel_ms, grids, run.seed),
    )


def _gateway(run: Run, group: services.Services, decoder: str) -> str:
    """The address of a gateway that is ready, until the bench ends."""
    launch = launch_gateway(services.free_address(), decoder)
    quiet = ("--metrics-listen", "", "--log-level", "warning")
    child = group.children.start(Launch(launch.name, launch.module, launch.address, [*launch.flags, *quiet]))
    pause = threading.Event().wait
    wait_until_ready(group.children, [child], START_S, lambda child, seconds: None, pause, answers_http)
    return launch.address


def _over_http(address: str) -> AskRound:
    """A connection for each caller, kept as the official clients keep theirs."""
    local = threading.local()

    def ask(question: Question) -> TimedCompletion:
        if not hasattr(local, "connection"):
            local.connection = HTTPConnection(address, timeout=CALL_S)
        return time_completion(address, MODEL, question, local.connection)

    return lambda questions: time_round(ask, questions, len(questions))


def _over_grpc(client: Client) -> AskRound:
    def ask(question: Question) -> TimedAnswer:
        sampling = Sampling(max_new_tokens=question.max_new_tokens)
        return time_answer(client, question.text, [question.picture], sampling)

    return lambda questions: time_round(ask, questions, len(questions))


def _questions(pictures: Iterator[bytes], count: int, tokens: int) -> list[Question]:
    numbered = enumerate(itertools.islice(pictures, count))
    return [Question(f"What is shown in picture {at}?", picture, tokens) for at, picture in numbered]


def _ask_in_turns(sides: Mapping[str, AskRound], concurrency: int, effort: Effort, seed: int) -> Rounds:
    """Each side gets pictures of its own, so that neither finds the rows of the other. A turn warms up."""
    rounds: dict[str, list[Round]] = {name: [] for name in sides}
    pictures = photos(seed, SERIES + concurrency, SIDE)
    for turn in range(effort.rounds + 1):
        order = list(sides) if turn % 2 else list(reversed(sides))
        for name in order:
            timed = sides[name](_questions(pictures, concurrency, effort.tokens))
            if turn:
                rounds[name].append(timed)
    return rounds


def _left_ms(address: str, client: Client, effort: Effort) -> float:
    """Leave a stream after its first token; the time until no request runs."""
    question = Question("Sing.", next(photos(0, SERIES, SIDE)), 400)
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), CALL_S) as connection:
        body = json.dumps(completion_body(MODEL, question)).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        received = b""
        while b'"content":"' not in received.replace(b'"content":""', b""):
            received += connection.recv(65536)
        if not client.info().load["running"]:
            raise RuntimeError("the answer ended before its client left")
    begin = time.perf_counter()
    while client.info().load["running"]:
        time.sleep(POLL_S)
    return ms_since(begin)


def _grid_ms(address: str, count: int, seed: int) -> list[float]:
    """From the drop of a picture to its painted grid, once the page is warm; empty without Chromium."""
    if browser_path() is None:
        return []
    files = [_png(photo) for photo in itertools.islice(photos(seed, GRID_SERIES, GRID_SIDE), count + 1)]
    return page_trace.grid_ms(f"http://{address}/", files)[1:]


def _png(photo: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(photo)).save(out, "PNG")
    return out.getvalue()


def measures(
    rounds: Mapping[int, Rounds], cancel_ms: Sequence[float], grid_ms: Sequence[float], seed: int
) -> dict[str, Measure]:
    """Time to first token and tokens a second of the gateway over those of the client."""
    taken = {}
    for concurrency, sides in rounds.items():
        suffix = "" if concurrency == 1 else f"_at_{concurrency}"
        ours, theirs = sides["gateway"], sides["client"]
        taken[f"ttft_vs_client{suffix}"] = Measure.ratio(
            [each.ttft_ms for each in ours], [each.ttft_ms for each in theirs], seed, TTFT_TARGET, "at most"
        )
        taken[f"tokens_vs_client{suffix}"] = Measure.ratio(
            [each.tokens_per_s for each in ours], [each.tokens_per_s for each in theirs], seed, TOKENS_TARGET
        )
    slowest = max(cancel_ms)
    taken["cancel_ms"] = Measure(
        "ms", slowest, len(cancel_ms), min(cancel_ms), slowest, CANCEL_TARGET_MS, "at most"
    )
    grid = Measure.median("ms", grid_ms, seed)
    taken["grid_ms"] = replace(grid, target=GRID_TARGET_MS, sense="at most")
    return taken


def _figures(rounds: Mapping[int, Rounds]) -> dict[str, Any]:
    """The medians that the ratios are made of."""
    return {
        f"{name}_at_{concurrency}": {
            "ttft_ms": round(median(ms for each in sides[name] for ms in each.ttft_ms), 2),
            "tokens_per_s": round(median(each.tokens_per_s for each in sides[name]), 2),
        }
        for concurrency, sides in rounds.items()
        for name in sides
    }


if __name__ == "__main__":
    runner.main("gateway", "The gateway against the Python client.", measure)
