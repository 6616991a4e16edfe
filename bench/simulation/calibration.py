"""Costs of the stages, from CPU time and waits of a real encoder and a real decoder.

Each phase makes many requests of a kind. A cost is what a phase takes more than earlier ones, divided by its
requests: CPU time of event loops, of the model's threads and of workers, which other processes hardly change.
With a single caller nothing queues: what then passes beyond CPU time is waiting.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.parts.timing import Round, TimedAnswer, time_round
from bench.simulation.caller import Caller
from bench.simulation.costs import Costs
from bench.simulation.decoder import Limits
from bench.simulation.fleet import Shape
from bench.simulation.usage import Cpu, ServiceCpu, own_s
from fovea.client.messages import id_of

SETTLE_S = 0.8
"""Longer than the ledger waits to write its records, and than rows take to be written."""
LONG = 33
"""Tokens of the longer answers."""


@dataclass(frozen=True)
class Effort:
    """Requests of each phase, in groups of the load's callers, and of the phases with a single caller."""

    groups: int = 12
    single: int = 24


@dataclass(frozen=True)
class Used:
    """CPU seconds of a phase, a request."""

    caller: float
    decoder: Cpu
    encoder: Cpu


@dataclass(frozen=True)
class Calibration:
    """`put_s` and `ttft_s` are medians of a single caller with new pictures; `stages_ms` of its receipts.
    `idle` are the cores that all services use while nobody calls them.
    """

    costs: Costs
    shape: Shape
    put_s: float
    ttft_s: float
    stages_ms: dict[str, float]
    idle: float = 0.0


class Meter:
    """Reads the CPU time of a pair of services and of this process."""

    def __init__(self, encoder: int, decoder: int) -> None:
        self.encoder, self.decoder = ServiceCpu(encoder), ServiceCpu(decoder)

    def phase(self, work: Callable[[], object], requests: int) -> Used:
        before = own_s(), self.decoder.read(), self.encoder.read()
        work()
        caller = own_s() - before[0]
        time.sleep(SETTLE_S)
        decoder, encoder = self.decoder.read() - before[1], self.encoder.read() - before[2]
        return Used(caller / requests, _per(decoder, requests), _per(encoder, requests))


def _per(cpu: Cpu, requests: int) -> Cpu:
    return Cpu(cpu.loop / requests, cpu.model / requests, cpu.workers / requests)


def calibrate(caller: Caller, encoder: int, decoder: int, callers: int, effort: Effort) -> Calibration:
    """Against a pair of services, given by their process ids, that `caller` calls."""
    meter = Meter(encoder, decoder)
    caller.warm_up()
    meter.encoder.find_model()
    meter.decoder.find_model()
    count = effort.groups * callers
    pictures = caller.new_pictures(count)
    digests = [id_of(picture) for picture in pictures]
    stored = meter.phase(lambda: time_round(caller.client.put, pictures, callers), count)
    new = meter.phase(lambda: _check(caller.ask_all(digests, callers, 1), "encoded"), count)
    hit = meter.phase(lambda: _check(caller.ask_all(digests, callers, 1), "rows"), count)
    # Groups that begin together run in step, so that the number of the engine's steps is known.
    long = meter.phase(
        lambda: [
            caller.ask_all(digests[at : at + callers], callers, LONG) for at in range(0, count, callers)
        ],
        count,
    )
    few = digests[: effort.single]
    alone = meter.phase(lambda: caller.ask_all(few, 1, 1), len(few))
    alone_long = meter.phase(lambda: caller.ask_all(few, 1, LONG), len(few))
    put_s, answers = _ask_alone(caller, effort.single)
    shape = _shape(answers[0], caller.tokens)
    step, step_token, prefill = engine_costs(
        alone.decoder.model, alone_long.decoder.model, long.decoder.model, shape.prompt, callers
    )
    costs = Costs(
        client_put=stored.caller,
        client_ask=hit.caller,
        client_token=max(0.0, long.caller - hit.caller) / (LONG - 1),
        decoder_put=stored.decoder.total,
        decoder_ask=hit.decoder.loop,
        decoder_token=max(0.0, long.decoder.loop - hit.decoder.loop) / (LONG - 1),
        encoder_put=stored.encoder.loop + stored.encoder.model,
        worker_put=stored.encoder.workers,
        encoder_hit=hit.encoder.loop,
        encoder_new=new.encoder.loop,
        worker_new=new.encoder.workers,
        tower_patch=new.encoder.model / shape.patches,
        step=step,
        step_token=step_token,
        prefill_token=prefill / shape.prompt,
    )
    return with_waits(costs, shape, put_s, answers)


def _check(timed: Round, source: str) -> None:
    for answer in timed.answers:
        answer.came_from(source)


def engine_costs(
    alone: float, alone_long: float, together_long: float, prompt: int, callers: int
) -> tuple[float, float, float]:
    """Seconds of a step, of a sequence in a step, and of a prompt, from CPU seconds of the engine a request.

    Alone, an answer of a token takes a step for its prompt; each further token takes a step. `callers` that
    begin together share the steps, after as many for the prompts as fit none of each other's chunk.
    """
    prompts = math.ceil(callers * prompt / Limits().prefill_chunk)
    further = LONG - 1
    shared = callers * (1 + further) - (prompts + further)  # the steps that they save
    step = max(0.0, callers * (alone_long - together_long) / shared)
    return step, max(0.0, (alone_long - alone) / further - step), max(0.0, alone - step)


def _ask_alone(caller: Caller, count: int) -> tuple[float, list[TimedAnswer]]:
    """The median of the seconds of an upload, and answers about each picture, a request at a time."""
    puts, answers = list[float](), list[TimedAnswer]()
    for picture in caller.new_pictures(count):
        begin = time.perf_counter()
        digest = caller.client.put(picture).facts.digest
        puts.append(time.perf_counter() - begin)
        answers += caller.ask_all([digest], 1).answers
    return statistics.median(puts), answers


def _shape(answer: TimedAnswer, tokens: int) -> Shape:
    totals = answer.receipt.totals
    prompt = totals.visual_tokens + totals.text_tokens
    return Shape(answer.receipt.images[0].patches, prompt, tokens)


def with_waits(costs: Costs, shape: Shape, put_s: float, answers: list[TimedAnswer]) -> Calibration:
    """The costs with what an upload and a request of a single caller take beyond their CPU time."""
    ttft_s = statistics.median(answer.ttft_ms for answer in answers) / 1000
    put_path = costs.client_put + costs.decoder_put + costs.encoder_put + costs.worker_put
    ask_path = (
        costs.client_ask
        + costs.decoder_ask
        + costs.worker_new
        + costs.encoder_new
        + costs.tower_s(shape.patches)
        + costs.step_s(0, shape.prompt)
    )
    stages = [vars(answer.receipt.stages_ms) for answer in answers]
    medians = {name: statistics.median(each[name] for each in stages) for name in stages[0]}
    waits = {"put_wait": max(0.0, put_s - put_path), "ask_wait": max(0.0, ttft_s - ask_path)}
    return Calibration(replace(costs, **waits), shape, put_s, ttft_s, medians)
