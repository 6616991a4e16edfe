"""A full disk, a cut data file, flipped bits and a pinned reader, at start and while running.

A tmpfs is mounted for the full disk; where that is not permitted its measure is owed. `start_s` is the
slowest start until ready, with the loading of the model; `first_start_s` is the start without any damage.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import lmdb

from bench.fault_cases.process import MIB
from bench.fault_cases.stored_encoder import Pictures, Start, StoredEncoder, Tally
from bench.host import side
from bench.result import Measure, Result
from bench.runner import Run

FLIPS, PICTURES, STARTS = 300, 40, 30
QUICK_FLIPS, QUICK_PICTURES, QUICK_STARTS = 40, 12, 1
FLIPS_AT_ONCE = 10
DISK_MIB = 24
START_S, START_MIB = 10.0, 1024.0


@dataclass
class Findings:
    """What was seen from outside. `goes_on` has an entry for each fault: whether all pictures were served."""

    tally: Tally = field(default_factory=Tally)
    starts: list[Start] = field(default_factory=list)
    goes_on: list[bool] = field(default_factory=list)
    deaths: int = 0
    stored_on_a_full_disk: int | None = None


def measure(run: Run) -> Result:
    flips, count, starts = run.effort((FLIPS, PICTURES, STARTS), (QUICK_FLIPS, QUICK_PICTURES, QUICK_STARTS))
    rng, found = random.Random(run.seed), Findings()
    run.status("computing the rows without a store")
    pictures = Pictures(run.seed, count, run.folder / "reference")
    encoder = StoredEncoder(run.folder / "store")
    try:
        found.starts.append(encoder.start())
        pictures.ask_all(encoder, found.tally)
        run.status("damage at start")
        for number in range(starts):
            damage = _cut if number % 10 == 9 else _flip
            encoder.stop()
            damage(encoder.data_file, rng, max(1, flips // starts))
            found.starts.append(encoder.start())
            _serves_again(encoder, pictures, found)
        run.status("damage while running")
        for _ in range(flips // FLIPS_AT_ONCE):
            _damage_running(encoder, pictures, found, lambda: _flip(encoder.data_file, rng, FLIPS_AT_ONCE))
        _damage_running(encoder, pictures, found, lambda: _cut(encoder.data_file, rng))
        run.status("a reader that pins every page")
        _pin(encoder, pictures, found)
        encoder.stop()
        run.status("a full disk")
        _fill_disk(run, pictures, found)
    finally:
        encoder.kill()
    return Result(
        {"flips": flips, "pictures": count, "starts": len(found.starts)},
        {"ours": side("fovea", served_from_store=found.tally.stored)},
        _measures(found),
        facts=(f"{flips} flips at start and {flips} while running",),
        notes=tuple(f"{why} {n} times" for why, n in found.tally.failed.items()),
    )


def _measures(found: Findings) -> dict[str, Measure]:
    tally, starts, goes_on = found.tally, found.starts, found.goes_on
    slowest, largest = max(s.seconds for s in starts), max(s.peak_mib for s in starts)
    full = found.stored_on_a_full_disk
    return {
        "wrong_rows": Measure("rows", tally.wrong, tally.calls, target=0, sense="at most"),
        "hangs": Measure("calls", tally.hangs, tally.calls, target=0, sense="at most"),
        "start_s": Measure("s", slowest, len(starts), target=START_S, sense="at most"),
        "first_start_s": Measure("s", starts[0].seconds, 1),
        "start_mib": Measure("MiB", largest, len(starts), target=START_MIB, sense="at most"),
        "goes_on": Measure("of faults", sum(goes_on) / len(goes_on), len(goes_on), target=1),
        "deaths": Measure("processes", found.deaths, len(goes_on), target=0, sense="at most"),
        "full_disk": Measure("pictures from the store", full, int(full is not None), target=1),
    }


def _restart(encoder: StoredEncoder, pictures: Pictures, found: Findings) -> None:
    found.starts.append(encoder.start())
    found.goes_on.append(_serves_all(encoder, pictures, found))


def _damage_running(
    encoder: StoredEncoder, pictures: Pictures, found: Findings, damage: Callable[[], object]
) -> None:
    damage()
    _serves_again(encoder, pictures, found)


def _serves_again(encoder: StoredEncoder, pictures: Pictures, found: Findings) -> None:
    """The first round may meet the damage (IMAGE_NOT_STORED for an upload); the second must be served."""
    pictures.ask_all(encoder, found.tally)
    if encoder.died:
        found.deaths += 1
        found.starts.append(encoder.start())
    found.goes_on.append(_serves_all(encoder, pictures, found))


def _serves_all(encoder: StoredEncoder, pictures: Pictures, found: Findings) -> bool:
    return pictures.ask_all(encoder, found.tally) == len(pictures.files)


def _pin(encoder: StoredEncoder, pictures: Pictures, found: Findings) -> None:
    """A reader of another process keeps LMDB from reusing any page. Rows must be right all the while."""
    folder, tight = encoder.data_file.parent, StoredEncoder(encoder.data_file.parents[1], _TIGHT)
    encoder.stop()
    found.starts.append(tight.start())
    try:
        with lmdb.open(str(folder), readonly=True, max_dbs=16) as env, env.begin():
            for _ in range(3):
                pictures.ask_all(tight, found.tally)
        found.goes_on.append(_serves_all(tight, pictures, found) and not tight.died)
    finally:
        tight.kill()


# Rows of a few pictures: each round writes all others.
_TIGHT = ("--cache-bytes", str(MIB // 4), "--uploads-bytes", str(64 * MIB))


def _fill_disk(run: Run, pictures: Pictures, found: Findings) -> None:
    disk = run.folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return
    run.stack.callback(subprocess.run, ["umount", str(disk)], check=False)
    encoder = StoredEncoder(disk / "store")
    run.stack.callback(encoder.kill)
    found.starts.append(encoder.start())
    pictures.ask_all(encoder, found.tally)
    encoder.stop()
    free = os.statvfs(disk)
    (disk / "ballast").write_bytes(bytes(free.f_bavail * free.f_frsize))
    before = found.tally.stored
    _restart(encoder, pictures, found)
    found.stored_on_a_full_disk = found.tally.stored - before
    (disk / "ballast").unlink()
    found.goes_on.append(_serves_all(encoder, pictures, found))
    encoder.stop()


def _flip(file: Path, rng: random.Random, flips: int) -> None:
    size = file.stat().st_size
    with file.open("r+b") as opened:
        for _ in range(flips):
            at = rng.randrange(size)
            opened.seek(at)
            (byte,) = opened.read(1)
            opened.seek(at)
            opened.write(bytes([byte ^ 1 << rng.randrange(8)]))


def _cut(file: Path, rng: random.Random, _flips: int = 0) -> None:
    os.truncate(file, rng.randrange(file.stat().st_size))
