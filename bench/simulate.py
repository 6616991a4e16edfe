"""A discrete-event model of N encoders and M decoders, held to six real fleets, and its tables for GPUs.

The model (simpy) is calibrated by CPU time and stage times of one encoder and one decoder. It then predicts
the requests a second and the mean time to the first token of 1, 2 and 3 encoders with 1 and 2 decoders, which
run for real with other pictures in another order. All processes of a set-up share the cores of this machine,
and so do their models in the simulation, less what the services use while nobody calls them.

- `error_NxM`: of N encoders and M decoders, the larger of the two relative errors of the prediction.
- `error_2_encoders`, `error_3_encoders`, `error_2_decoders`: the largest of the set-ups that have so many.

Nothing is fitted to these runs. The full run writes docs/scaling.md, with tables for 10, 100 and 1,000 GPUs.
These are simulated from the arithmetic of 30B-A3B and the rates of an H200, not measured on one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from simpy import Environment

from bench import bounds, runner, services
from bench.bounds import Bounded, Floats
from bench.host import ROOT, side
from bench.result import Measure, Result
from bench.runner import Run
from bench.serving import endless
from bench.simulation import calibration, real
from bench.simulation.calibration import Calibration
from bench.simulation.caller import Caller
from bench.simulation.comparison import Comparison
from bench.simulation.fleet import Fleet, Outcome, Setup, closed_loop
from bench.simulation.load import POOL, Load
from bench.simulation.real import Observed, RealFleet, samples
from fovea import logs
from fovea.machine import cores
from standin import model_dir

TARGET = 0.15
PAGE = ROOT / "docs" / "scaling.md"
SETUPS = [Setup(encoders, decoders) for encoders in (1, 2, 3) for decoders in (1, 2)]
PREDICTED = 8
"""Simulated rounds of a prediction."""
WORST = {
    "error_2_encoders": lambda setup: setup.encoders == 2,
    "error_3_encoders": lambda setup: setup.encoders == 3,
    "error_2_decoders": lambda setup: setup.decoders == 2,
}


@dataclass(frozen=True)
class Effort:
    setups: Sequence[Setup]
    rounds: int
    load: Load
    calibration: calibration.Effort


FULL = Effort(SETUPS, 8, Load(), calibration.Effort())
QUICK = Effort(
    [Setup(1, 1), Setup(2, 1), Setup(1, 2)], 2, Load(requests=16), calibration.Effort(groups=2, single=4)
)


def measure(run: Run) -> Result:
    logs.configure("console", "warning")
    effort = run.effort(FULL, QUICK)
    model = endless(model_dir(), run.folder / model_dir().name)
    run.status("starting")
    fleets = real.start(run, model, effort.setups)
    run.status("calibration with one encoder and one decoder")
    known = calibrate(run, fleets, effort)
    predictions = {setup: predict(known, setup, effort.load, cores(), run.seed) for setup in effort.setups}
    rounds = observe(run, fleets, effort)
    taken = measures(predictions, rounds, run.seed)
    compared = [Comparison(setup, predictions[setup], rounds[setup]) for setup in effort.setups]
    path = run.flags.out or (None if run.quick else PAGE)
    if path is not None:
        publish(run, path, fleets, known, compared, taken)
    return Result(
        config={
            "model": model.name,
            "setups": [str(setup) for setup in effort.setups],
            "rounds": effort.rounds,
            "load": vars(effort.load),
            "shape": vars(known.shape),
        },
        sides={
            "simulation": side("simpy", "", idle_cores=known.idle, **known.costs.as_ms()),
            "ours": side("fovea", " ".join(services.ONE_THREAD), **known.stages_ms),
        },
        measures=taken,
        notes=[*map(_note, compared), *([f"written: {path}"] if path else [])],
    )


def publish(
    run: Run,
    path: Path,
    fleets: real.RealFleets,
    known: Calibration,
    compared: Sequence[Comparison],
    taken: Mapping[str, Measure],
) -> None:
    """Write the page with the tables for GPUs."""
    from bench.simulation import derived, gpu, page, rates, tables  # load torch and matplotlib

    run.status("rates of ledger, checks and rows")
    shared = rates.shared_rates(run, fleets.encoders[0], run.effort(20_000, 2_000), run.effort(200, 20))
    rows = rates.row_costs(run, run.effort(40, 8))
    run.status("fleets of GPUs")
    model, card, traffic = gpu.Model(), gpu.Gpu(hour=run.flags.gpu_hour), gpu.Traffic()
    costs = gpu.costs(known.costs, rows, model, card, traffic)
    basis = tables.Basis(costs, model, card, traffic, shared, run.seed)
    planned = derived.Derived.of(basis, rows)
    page.write(path, known, compared, planned, taken, run.effort(FULL, QUICK).load, run.seed)


def calibrate(run: Run, fleets: real.RealFleets, effort: Effort) -> Calibration:
    decoder = fleets.decoders[Setup(1, 1)][0]
    caller = Caller([decoder.address], effort.load, run.seed, real.SERIES, run.stack)
    pids = fleets.encoders[0].pid, decoder.pid
    known = calibration.calibrate(caller, *pids, effort.load.callers, effort.calibration)
    return replace(known, idle=fleets.idle_cores(run.effort(10.0, 2.0)))


def predict(known: Calibration, setup: Setup, load: Load, shared: float, seed: int) -> Outcome:
    """Simulated rounds in a row, each with requests of its own, on `shared` cores."""
    together = Outcome()
    for number in range(PREDICTED):
        env = Environment()
        fleet = Fleet(env, setup, known.costs, replace(known.shape, tokens=load.tokens), shared - known.idle)
        fleet.hold(range(POOL))
        together += closed_loop(fleet, env, load.draw(PREDICTED * seed + number), load.callers)
    return together


def observe(run: Run, fleets: real.RealFleets, effort: Effort) -> dict[Setup, list[Observed]]:
    """The set-ups take turns."""
    rounds: dict[Setup, list[Observed]] = {setup: [] for setup in effort.setups}
    running = {
        setup: RealFleet(run, fleets, setup, effort.load, real.SERIES + 1 + number)
        for number, setup in enumerate(effort.setups)
    }
    for turn in range(effort.rounds):
        for setup, fleet in running.items():
            run.status(f"{setup}, round {turn + 1} of {effort.rounds}")
            rounds[setup].append(fleet.round(turn))
    return rounds


def measures(
    predictions: Mapping[Setup, Outcome], rounds: Mapping[Setup, Sequence[Observed]], seed: int
) -> dict[str, Measure]:
    """Owed where no set-up of the kind ran."""
    taken = {f"error_{setup}": error(predictions, rounds, [setup], seed) for setup in SETUPS}
    worst = {
        name: error(predictions, rounds, [setup for setup in SETUPS if belongs(setup)], seed)
        for name, belongs in WORST.items()
    }
    return worst | taken


def error(
    predictions: Mapping[Setup, Outcome],
    rounds: Mapping[Setup, Sequence[Observed]],
    setups: Sequence[Setup],
    seed: int,
) -> Measure:
    """The largest error over the set-ups that ran; the bootstrap draws whole turns."""
    ran = [setup for setup in setups if setup in rounds]
    if not ran:
        return Measure("ratio", None, target=TARGET, sense="at most")
    observed = np.stack([samples(rounds[setup]) for setup in ran], axis=1)
    predicted = np.array([[predictions[s].requests_per_s, predictions[s].mean_ttft_s] for s in ran])
    return Measure.of("ratio", largest_error(observed, predicted, seed), TARGET, "at most")


def largest_error(observed: Floats, predicted: Floats, seed: int) -> Bounded:
    """The largest relative error of `predicted` (set-ups, quantities) against the means of `observed`
    (rounds, set-ups, quantities).
    """

    def largest(drawn: Floats) -> Floats:
        errors = np.abs(predicted / drawn.mean(axis=1) - 1)
        return np.asarray(errors.reshape(len(drawn), -1).max(axis=1))

    return bounds.bootstrap(observed, largest, seed)


def _note(compared: Comparison) -> str:
    (rate, ttft_s), (real_rate, real_ttft_s) = compared.simulated, compared.real
    return (
        f"{compared.setup}: {rate:.2f} requests/s simulated, {real_rate:.2f} real;"
        f" TTFT {1000 * ttft_s:,.0f} ms simulated, {1000 * real_ttft_s:,.0f} ms real;"
        f" others used {compared.others:.2f} cores"
    )


def add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="page to write [default: docs/scaling.md; none if quick]")
    parser.add_argument("--gpu-hour", type=float, default=3.0, help="price of an hour of a GPU [default 3]")


if __name__ == "__main__":
    runner.main("simulate", "Compare a simulated fleet with real ones; tables for GPUs.", measure, add_flags)
