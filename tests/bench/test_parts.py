"""The baselines of the benches do what they should."""

from __future__ import annotations

import io
import itertools
import json
import mmap
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from PIL import Image

from bench.economics.rescue import PeakMemory
from bench.parts import raw_socket
from bench.parts.photo import photo, photos
from bench.serving import endless
from bench.turns import time_in_turns, turns
from decoder_svc.engine.protocol import Delta, EngineTimings, Usage
from standin import model_dir


def test_the_raw_socket_sends_the_requested_bytes_every_time() -> None:
    count = 3_000_001
    first, again = bytearray(count), bytearray(count)
    with raw_socket.peers(count, 1) as (connection,):
        raw_socket.receive(connection, memoryview(first))
        raw_socket.receive(connection, memoryview(again))
    assert first == again
    assert any(first[-1000:])


def test_raw_sockets_send_side_by_side() -> None:
    buffers = [bytearray(100_000) for _ in range(3)]
    with raw_socket.peers(100_000, 3) as connections:
        for connection, buffer in zip(connections, buffers, strict=True):
            raw_socket.receive(connection, memoryview(buffer))
    assert buffers[0] == buffers[1] == buffers[2] != bytearray(100_000)


def test_photos_differ_by_seed_and_repeat_with_it() -> None:
    assert photo(1, 64) == photo(1, 64)
    assert photo(1, 64) != photo(2, 64)
    assert Image.open(io.BytesIO(photo(1, 64))).size == (64, 64)


@pytest.mark.parametrize("least", [1, 5])
def test_turns_reach_the_minimum(least: int) -> None:
    assert list(turns(0.0, least)) == list(range(least))


def test_compared_steps_are_timed_in_the_same_turns_after_warm_up() -> None:
    calls: list[tuple[str, int]] = []
    steps = {name: lambda turn, name=name: calls.append((name, turn)) for name in ("ours", "theirs")}
    times = time_in_turns(steps, 0.0, 2, warm_up=1)
    assert calls == [(name, turn) for turn in range(3) for name in ("ours", "theirs")]
    assert {name: len(seconds) for name, seconds in times.items()} == {"ours": 2, "theirs": 2}


def test_photos_of_a_series_are_shared_with_no_other_seed_or_series() -> None:
    drawn = [set(itertools.islice(photos(*of, 64), 3)) for of in ((0, 0), (0, 1), (1, 0))]
    assert len(set().union(*drawn)) == 9


def test_an_endless_checkpoint_differs_in_its_end_token_alone(tmp_path: Path) -> None:
    folder = endless(model_dir(), tmp_path / "endless")
    assert {path.name for path in folder.iterdir()} == {path.name for path in model_dir().iterdir()}
    differing = [p.name for p in folder.iterdir() if p.read_bytes() != (model_dir() / p.name).read_bytes()]
    assert differing == ["generation_config.json"]
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == json.loads((folder / "config.json").read_text())["video_token_id"]


async def deltas(*token_ids: tuple[int, ...]) -> AsyncGenerator[Delta, None]:
    for ids in token_ids:
        yield Delta(ids, "", Usage(1, 0, len(ids)), EngineTimings())


async def test_the_first_token_of_a_bench_is_not_the_admission() -> None:
    in_process = pytest.importorskip("bench.parts.in_process")
    assert (await in_process.first_token(deltas((), (7,), (8,)))).token_ids == (7,)
    with pytest.raises(RuntimeError):
        await in_process.first_token(deltas(()))


@pytest.mark.long
def test_a_peak_of_memory_is_one_since_its_measure_began() -> None:
    """Not that of an earlier phase of the bench."""

    def take(size: int) -> None:
        with mmap.mmap(-1, size) as memory:
            memory[:] = b"\1" * size

    take(256 << 20)
    peak = PeakMemory([os.getpid()])
    assert peak.bytes() < 128 << 20
    take(192 << 20)
    assert peak.bytes() > 150 << 20
