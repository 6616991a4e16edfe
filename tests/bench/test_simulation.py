"""The simulated fleet: queues against their closed formulas, conservation, determinism, calibration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from simpy import Environment

from bench.simulate import error, largest_error, measures
from bench.simulation.calibration import LONG, engine_costs
from bench.simulation.cores import OwnCores, Processor, SharedCores, Steps, Thread
from bench.simulation.costs import Costs
from bench.simulation.decoder import Decoder, Limits
from bench.simulation.encoder import Encoder
from bench.simulation.fleet import Fleet, Outcome, Request, Setup, Shape, closed_loop
from bench.simulation.load import POOL, Load
from bench.simulation.real import Observed

ARRIVALS = 40_000
LOAD = 0.6
TOLERANCE = 0.05
"""About three standard errors of a mean over so many arrivals at this load."""
Service = Callable[[np.random.Generator], float]


def exponential(random: np.random.Generator) -> float:
    return float(random.exponential())


def sojourns(
    serve: Callable[[Environment], Callable[[float], Steps]], service: Service, rate: float
) -> np.ndarray:
    """(arrivals, 2): work and time in the system of Poisson arrivals."""
    env, random, seen = Environment(), np.random.default_rng(1), []
    run = serve(env)

    def job(work: float) -> Steps:
        begun = env.now
        yield from run(work)
        seen.append((work, env.now - begun))

    def source() -> Steps:
        for _ in range(ARRIVALS):
            yield env.timeout(random.exponential(1 / rate))
            env.process(job(service(random)))

    env.process(source())
    env.run()
    assert len(seen) == ARRIVALS
    return np.array(seen)


def fifo(env: Environment) -> Callable[[float], Steps]:
    return Thread(env, OwnCores(env), "p").run


def shared(count: float) -> Callable[[Environment], Callable[[float], Steps]]:
    def serve(env: Environment) -> Callable[[float], Steps]:
        cores = SharedCores(env, count)

        def run(work: float) -> Steps:
            yield cores.run(work, "p")

        return run

    return serve


def test_a_thread_is_the_queue_m_m_1() -> None:
    mean = sojourns(fifo, exponential, LOAD)[:, 1].mean()
    assert mean == pytest.approx(1 / (1 - LOAD), rel=TOLERANCE)


def test_a_thread_with_equal_work_is_the_queue_m_d_1() -> None:
    mean = sojourns(fifo, lambda random: 1.0, LOAD)[:, 1].mean()
    assert mean == pytest.approx(1 + LOAD / (2 * (1 - LOAD)), rel=TOLERANCE)


def test_a_shared_core_slows_small_and_large_work_alike() -> None:
    """M/G/1 with processor sharing: the time in the system is work / (1 - load), whatever the distribution. In
    order of arrival, small work would wait as long as large work.
    """

    def service(random: np.random.Generator) -> float:
        return float(random.choice([0.2, 1.8]))

    work, seconds = sojourns(shared(1), service, LOAD).T
    for size in (0.2, 1.8):
        assert seconds[work == size].mean() == pytest.approx(size / (1 - LOAD), rel=TOLERANCE)


def test_two_shared_cores_are_the_queue_m_m_2() -> None:
    """A thread never runs on more than a core."""
    mean = sojourns(shared(2), exponential, 2 * LOAD)[:, 1].mean()
    assert mean == pytest.approx(1 / (1 - LOAD**2), rel=TOLERANCE)


@pytest.mark.parametrize(("works", "count", "widths", "seconds"), [
    ({"a": 1}, 2, {}, 1.0),
    ({"a": 2}, 2, {}, 1.0),
    ({"a": 2}, 2, {"a": 1.0}, 2.0),
    ({"a": 2, "b": 1}, 2, {"a": 1.0}, 2.0),
    ({"a": 2, "b": 2}, 2, {}, 2.0),
    ({"a": 1}, 0.5, {}, 2.0),
])  # fmt: skip
def test_cores_are_shared_within_the_width_of_processes(
    works: dict[str, int], count: float, widths: dict[str, float], seconds: float
) -> None:
    """Works of a second each, by process; the time until the last is done."""
    env = Environment()
    cores = SharedCores(env, count, widths)
    for process, number in works.items():
        for _ in range(number):
            cores.run(1.0, process)
    env.run()
    assert env.now == pytest.approx(seconds)
    assert cores.busy_s == pytest.approx(sum(works.values()))


def test_a_process_that_is_narrow_leaves_the_rest_to_others() -> None:
    """Two threads of `a` share a core, and so `b` has the other for itself."""
    env, ended = Environment(), dict[str, float]()
    cores = SharedCores(env, 2, {"a": 1.0})
    for name in ("a", "a", "b"):
        cores.run(1.0, name).callbacks.append(lambda _, name=name: ended.update({name: env.now}))
    env.run()
    assert ended == pytest.approx({"a": 2.0, "b": 1.0})


COSTS = Costs(
    client_put=0.004, client_ask=0.003, client_token=0.0003, decoder_put=0.004, decoder_ask=0.012,
    decoder_token=0.0003, encoder_put=0.008, worker_put=0.008, encoder_hit=0.006, encoder_new=0.02,
    worker_new=0.006, tower_patch=0.09 / 1024, step=0.004, step_token=0.0005, prefill_token=5e-5,
)  # fmt: skip
SHAPE = Shape(patches=1024, prompt=280, tokens=16)


def simulate(setup: Setup, load: Load, seed: int = 0, cores: float | None = 2.0) -> tuple[Fleet, Outcome]:
    env = Environment()
    fleet = Fleet(env, setup, COSTS, SHAPE, cores)
    fleet.hold(range(POOL))
    return fleet, closed_loop(fleet, env, load.draw(seed), load.callers)


@pytest.mark.parametrize("setup", [Setup(1, 1), Setup(3, 2)], ids=str)
def test_every_request_is_answered_once_and_every_new_picture_encoded_once(setup: Setup) -> None:
    load = Load(requests=40)
    fleet, outcome = simulate(setup, load)
    assert len(outcome.total_s) == load.requests
    assert sum(decoder.tokens for decoder in fleet.decoders) == load.requests * SHAPE.tokens
    assert sum(encoder.encodes for encoder in fleet.encoders.values()) == round(load.new * load.requests)
    assert all(0 < ttft < total for ttft, total in zip(outcome.ttft_s, outcome.total_s, strict=True))


def test_a_seed_repeats_a_round_and_another_does_not() -> None:
    load = Load(requests=40)
    (_, first), (_, again), (_, other) = (simulate(Setup(2, 2), load, seed) for seed in (3, 3, 4))
    assert vars(first) == vars(again)
    assert vars(first) != vars(other)


def test_a_saturated_machine_serves_what_its_cores_can() -> None:
    """Callers without end: requests a second are cores over the CPU seconds of a request."""
    load, costs = Load(requests=400, callers=32, new=0.0), replace(COSTS, step=0.0, step_token=0.001)
    env = Environment()
    fleet = Fleet(env, Setup(1, 2), costs, SHAPE, 1.0)
    fleet.hold(range(POOL))
    outcome = closed_loop(fleet, env, load.draw(0), load.callers)
    later = SHAPE.tokens - 1
    demand = (
        costs.client_ask + costs.decoder_ask + costs.encoder_hit + SHAPE.prompt * costs.prefill_token
        + later * (costs.client_token + costs.decoder_token + costs.step_token)
    )  # fmt: skip
    assert outcome.requests_per_s == pytest.approx(1 / demand, rel=0.01)


def test_more_encoders_help_until_the_decoder_is_the_bottleneck() -> None:
    load = Load(requests=120, callers=32, new=1.0)
    rates = [simulate(Setup(count, 1), load, cores=None)[1].requests_per_s for count in (1, 2, 16, 32)]
    assert rates[1] / rates[0] == pytest.approx(2, rel=0.15)
    assert rates[3] / rates[2] == pytest.approx(1, rel=0.1)


def test_an_upload_lies_on_two_encoders() -> None:
    """The same pictures take twice the work of uploads once there is a second encoder."""

    def work(encoders: int) -> float:
        env = Environment()
        costs = Costs(encoder_put=1.0)
        fleet = Fleet(env, Setup(encoders, 1), costs, SHAPE, None)
        closed_loop(fleet, env, [Request(POOL + number, True) for number in range(20)], 4)
        return sum(encoder.loop.busy_s for encoder in fleet.encoders.values())

    assert [work(count) for count in (1, 2, 3)] == pytest.approx([20, 40, 40])


def test_concurrent_requests_for_a_picture_share_a_computation() -> None:
    env = Environment()
    encoder = Encoder(env, "e", Costs(tower_patch=1.0), OwnCores(env), 4)
    calls = [env.process(encoder.rows(7, 4)) for _ in range(3)]
    env.run(env.all_of(calls))
    assert (env.now, encoder.encodes) == (4.0, 1)


@pytest.mark.parametrize(("batch", "calls"), [(4, 3), (8, 2), (12, 2), (1, 3)])
def test_a_call_of_the_tower_takes_the_images_that_fit(batch: int, calls: int) -> None:
    """The first image goes alone, since no other is prepared; one that is larger than a batch does, too."""
    env = Environment()
    encoder = Encoder(env, "e", Costs(tower_call=1.0, worker_new=0.1), OwnCores(env), batch)
    images = [env.process(encoder.rows(image, 4)) for image in range(3)]
    env.run(env.all_of(images))
    assert env.now == pytest.approx(calls + 0.1, abs=1e-6)


def engine(env: Environment, costs: Costs, **limits: int) -> Decoder:
    processor: Processor = OwnCores(env)
    return Decoder(env, "d", costs, processor, replace(Limits(), **limits))


def test_prompts_are_computed_in_chunks_beside_answers() -> None:
    """1,200 tokens in chunks of 512 take three steps; then the answers of both go on together."""
    env = Environment()
    decoder = engine(env, Costs(step=1.0), prefill_chunk=512)
    short, long = decoder.submit(100, 10), decoder.submit(1100, 3)
    ends = {}
    for name, event in {
        "short": short.first,
        "long": long.first,
        "end": long.last,
        "last": short.last,
    }.items():
        event.callbacks.append(lambda _, name=name: ends.update({name: env.now}))
    env.run(env.all_of([short.last, long.last]))
    assert ends == {"short": 1.0, "long": 3.0, "end": 5.0, "last": 10.0}
    assert decoder.tokens == 13


def test_requests_above_max_running_wait() -> None:
    env = Environment()
    decoder = engine(env, Costs(step=1.0), max_running=2)
    sequences = [decoder.submit(10, 5) for _ in range(3)]
    env.run(sequences[-1].last)
    assert env.now == 10.0


def test_costs_of_the_engine_follow_from_answers_alone_and_together() -> None:
    step, token, prompt, callers, chunked = 0.004, 0.0005, 0.015, 8, 5
    alone = step + prompt
    alone_long = alone + (LONG - 1) * (step + token)
    together = prompt + (LONG - 1) * token + (chunked + LONG - 1) * step / callers
    assert engine_costs(alone, alone_long, together, 280, callers) == pytest.approx((step, token, prompt))


def test_an_error_is_the_largest_over_set_ups_and_quantities() -> None:
    observed = np.array([[[10.0, 0.5], [20.0, 0.2]]] * 6)
    predicted = np.array([[10.5, 0.5], [20.0, 0.25]])
    assert largest_error(observed, predicted, 0).value == pytest.approx(0.25)
    assert largest_error(observed, observed[0], 0).value == pytest.approx(0, abs=1e-9)


def test_set_ups_that_did_not_run_are_owed() -> None:
    rounds = {Setup(1, 2): [Observed(10.0, 0.5, 0.0)] * 6}
    predictions = {Setup(1, 2): Outcome(1.0, [0.5] * 9, [0.6] * 9)}
    taken = measures(predictions, rounds, 0)
    assert taken["error_1x2"].value == pytest.approx(0.1)
    assert taken["error_2_decoders"] == taken["error_1x2"] == error(predictions, rounds, [Setup(1, 2)], 0)
    assert taken["error_3_encoders"].value is None
    assert set(taken) >= {"error_2_encoders", "error_3_encoders", "error_2_decoders"}
