"""A restart of every service under load, in turn: SIGTERM, drain, start, ready, the next.

Two clients share the load. Both use gRPC's own health checking over both decoders (round_robin with
`healthCheckConfig`). One has the retries of the Python client; the other has none, so that it shows what the
drain itself loses.
"""

from __future__ import annotations

import asyncio
import json
import time

from bench.fault_cases import fleet as fleets
from bench.fault_cases.questions import NO_RETRIES, Caller, ChannelOptions, Questions
from bench.fault_cases.trial import Trial, during, failed, failures, middle, p99_ms, wrong_answers
from bench.host import side
from bench.result import Result
from bench.runner import Run
from fovea.client.channel import OPTIONS, SERVICE_CONFIG

HEALTH = {"healthCheckConfig": {"serviceName": ""}}
WITH_RETRIES: ChannelOptions = tuple(
    (name, json.dumps(SERVICE_CONFIG | HEALTH) if name == "grpc.service_config" else value)
    for name, value in OPTIONS
)
WITHOUT: ChannelOptions = (
    *NO_RETRIES,
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]} | HEALTH)),
)


def measure(run: Run) -> Result:
    return asyncio.run(_measure(run))


async def _measure(run: Run) -> Result:
    rounds, restarts_ms = run.effort(3, 1), list[float]()
    fleet = fleets.start(run, encoders=2, decoders=2)
    address = "ipv4:" + ",".join(decoder.address for decoder in fleet.decoders)

    async def restart_in_turns() -> None:
        for number in range(rounds):
            for member in fleet.members:
                run.status(f"round {number + 1} of {rounds}: {member.launch.name}")
                began = time.monotonic()
                await member.restart()
                restarts_ms.append((time.monotonic() - began) * 1000)

    async with Caller(address, WITH_RETRIES) as patient, Caller(address, WITHOUT) as plain:
        first = Trial(patient, Questions(run.seed))
        await first.prepare(run)
        second = Trial(plain, Questions(run.seed + 1), rate=first.rate / 2)
        first.rate /= 2
        await second.upload()
        run.status("no restart")
        calm = await first.calm(run.effort(60.0, 2.0))
        retried, bare = await during(restart_in_turns, first, second)
    wrong = await wrong_answers(run, first, second)
    outcomes = [*retried, *bare]
    return Result(
        config={"rounds": rounds, "calls_per_s": round(2 * first.rate, 2), "encoders": 2, "decoders": 2},
        sides={"ours": side("fovea")},
        measures={
            "failed_calls": failed(retried),
            "failed_without_retries": failed(bare),
            "wrong_answers": wrong,
            "restart_ms": middle("ms", restarts_ms),
        },
        facts=[f"{rounds} rounds of {len(fleet.members)} restarts at {2 * first.rate:.1f} calls/s"],
        notes=[
            f"p99 {p99_ms(calm):.0f} ms without restarts, {p99_ms(outcomes):.0f} ms with",
            failures(outcomes),
        ],
    )
