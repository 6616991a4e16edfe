"""Rows that encoders share on Valkey: what a new encoder computes, how long a hit takes, a dead server.

An encoder answers questions about new pictures, and is lost with its store. A new encoder with an empty store
gets the same pictures, inline as before; the tower must run for none of them. Another new encoder times the
first hit of each picture, which comes from Valkey, and the second, which comes from its own store by then. At
last the server is killed: the first token about a new picture, with a dead server and without any, in turns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import runner, services
from bench.host import side
from bench.parts import wire
from bench.parts.latency import time_encode
from bench.parts.photo import photos
from bench.parts.timing import time_answer
from bench.result import Measure, Result, medians
from bench.runner import Run
from bench.services import Services
from bench.turns import turns
from bench.valkey_server import ValkeyServer, is_installed
from fovea.client import Client, EncoderClient
from standin import model_dir

SIDE = 768
HIT_TARGET = 2.0
DEAD_TARGET = 1.05
SERIES, NEW, WIDE = 41, 42, 43
MEMORY = ("--maxmemory", "4gb", "--maxmemory-policy", "allkeys-lru")


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    images: int = 300
    wide_images: int = 30
    dead_s: float = 60.0
    least: int = 10


QUICK = Effort(images=12, wide_images=4, dead_s=3.0, least=4)


@dataclass(frozen=True)
class Hits:
    """Milliseconds of a hit of each picture, from Valkey and from the encoder's own store."""

    shared: Sequence[float]
    lmdb: Sequence[float]


@dataclass(frozen=True)
class Deaths:
    """Milliseconds to the first token about a new picture, with a dead server and without any."""

    dead: Sequence[float]
    without: Sequence[float]


def measure(run: Run) -> Result:
    effort, server = run.effort(Effort(), QUICK), started(run)
    version = server.version  # the server is dead at the end
    encodes = encodes_of_a_new_encoder(run, server, effort.images)
    hits = time_hits(run, server, model_dir(), SIDE, SERIES, effort.images)
    model = wire.checkpoint(run.folder / "wide")
    fill(run, server, model, wire.SIDE, WIDE, effort.wide_images)
    wide = time_hits(run, server, model, wire.SIDE, WIDE, effort.wide_images)
    deaths = time_dead(run, server, effort)
    return Result(
        config={
            "model": model_dir().name,
            "image": [SIDE, SIDE],
            "wide": [wire.SIDE, wire.SIDE],
            **vars(effort),
        },
        sides={"ours": side("fovea"), "valkey": {"version": version, "args": " ".join(MEMORY)}},
        measures=measures(encodes, effort.images, hits, wide, deaths, run.seed),
    )


def measures(
    encodes: int, images: int, hits: Hits, wide: Hits, deaths: Deaths, seed: int
) -> dict[str, Measure]:
    """The promised measures, and the times that they are made of. Wide rows are those of 30B-A3B."""
    return {
        "shared_encodes": Measure("images", encodes, images, target=0, sense="at most"),
        "shared_hit_vs_lmdb": Measure.ratio(hits.shared, hits.lmdb, seed, HIT_TARGET, "at most"),
        "shared_dead_ttft": Measure.ratio(deaths.dead, deaths.without, seed, DEAD_TARGET, "at most"),
        "shared_wide_hit_vs_lmdb": Measure.ratio(wide.shared, wide.lmdb, seed),
        **medians(
            "ms",
            {
                "shared_hit_ms": hits.shared,
                "lmdb_hit_ms": hits.lmdb,
                "shared_wide_hit_ms": wide.shared,
                "lmdb_wide_hit_ms": wide.lmdb,
                "ttft_dead_ms": deaths.dead,
                "ttft_without_ms": deaths.without,
            },
            seed,
        ),
    }


def started(run: Run) -> ValkeyServer:
    """A server that runs until the bench ends. Raises OSError without the program."""
    if not is_installed():
        raise FileNotFoundError("Valkey is not installed: apt-get install redis-server")
    server = ValkeyServer(*MEMORY)
    run.stack.callback(server.remove)
    server.start()
    return server


def encodes_of_a_new_encoder(run: Run, server: ValkeyServer, images: int) -> int:
    """The pictures that the tower of a new encoder runs for, after another has answered about all of them."""
    for name in ("lost", "new"):
        run.status(f"{images} pictures, {name} encoder")
        launched = services.pair(model_dir(), run.folder / name, encoder_flags=flags(server))
        running = run.start(*launched)
        with Client(launched[-1].address) as client:
            for picture in itertools.islice(photos(run.seed, SERIES, SIDE), images):
                time_answer(client, "What is this?", [picture])
        with EncoderClient(launched[0].address) as encoder:
            encodes = int(encoder.info().load["encodes"])
        stop(running)  # the first writes what waits for the server
    return encodes


def fill(run: Run, server: ValkeyServer, model: Path, size: int, series: int, images: int) -> None:
    """An encoder computes the rows of the pictures of a series, and is lost."""
    run.status("encoding wide rows")
    encoder = services.pair(model, run.folder / f"fill-{series}", encoder_flags=flags(server))[0]
    running = run.start(encoder)
    with EncoderClient(encoder.address) as client:
        for picture in itertools.islice(photos(run.seed, series, size), images):
            client.encode(client.put(picture).facts.digest)
    stop(running)


def time_hits(run: Run, server: ValkeyServer, model: Path, size: int, series: int, images: int) -> Hits:
    """Of a new encoder. A picture is asked for again a turn later, when its rows are in its own store."""
    run.status("hits")
    encoder = services.pair(model, run.folder / f"hits-{series}", encoder_flags=flags(server))[0]
    running = run.start(encoder)
    shared, lmdb, previous = list[float](), list[float](), ""
    with EncoderClient(encoder.address) as client:
        for picture in itertools.islice(photos(run.seed, series, size), images):
            digest = client.put(picture).facts.digest
            shared.append(time_encode(client, digest, "rows"))
            if previous:
                lmdb.append(time_encode(client, previous, "rows"))
            previous = digest
        lmdb.append(time_encode(client, previous, "rows"))
    stop(running)
    return Hits(shared, lmdb)


def time_dead(run: Run, server: ValkeyServer, effort: Effort) -> Deaths:
    """The server is killed once both sides have answered. The pictures are new, so that the tower runs."""
    run.status("a dead server")
    sides = {"dead": flags(server), "without": ()}
    pairs = {
        name: services.pair(model_dir(), run.folder / name, encoder_flags=[*own, *services.ONE_THREAD])
        for name, own in sides.items()
    }
    run.start(*(launch for launched in pairs.values() for launch in launched))
    pictures = photos(run.seed, NEW, SIDE)
    times: dict[str, list[float]] = {name: [] for name in sides}
    clients = {name: run.stack.enter_context(Client(pair[-1].address)) for name, pair in pairs.items()}
    for client in clients.values():  # not counted: connects, warms up
        time_answer(client, "What is this?", [next(pictures)])
    server.kill()
    for turn in turns(effort.dead_s, effort.least):
        for name in sorted(sides, reverse=turn % 2 == 0):
            answer = time_answer(clients[name], "What is this?", [next(pictures)]).came_from("encoded")
            times[name].append(answer.ttft_ms)
    return Deaths(times["dead"], times["without"])


def flags(server: ValkeyServer) -> tuple[str, ...]:
    """Of an encoder that shares its rows."""
    return ("--shared-cache", server.url, "--cache-bytes", str(8 * 2**30))


def stop(running: Services) -> None:
    for child in reversed(running.running):
        child.stop()


if __name__ == "__main__":
    runner.main("shared", "Measure rows that encoders share: a new encoder, hits, a dead server.", measure)
