"""Arena files: readers see what the owner wrote, and open nothing else."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fovea.arena import PAGE, Arena, ArenaUnusable, OpenArena, sweep

SIZE = 10_000


def test_an_arena_is_readable_until_its_owner_closes_it(tmp_path: Path) -> None:
    arena = Arena(SIZE, tmp_path)
    opened = OpenArena(arena.id, tmp_path)
    arena.write(PAGE + 100, [b"one", memoryview(b"two")])
    assert opened.copy(PAGE + 100, 6) == b"onetwo" == bytes(arena.view(PAGE + 100, 6))
    assert arena.path.stat().st_mode & 0o777 == 0o600
    arena.close()
    assert not list(tmp_path.iterdir())
    assert opened.copy(PAGE + 100, 6) == b"onetwo"
    arena.close()


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 4), (PAGE - 1, 4), (PAGE, SIZE + 1), (PAGE + SIZE, 1), (PAGE, -1)]
)
def test_reads_outside_of_the_arena_are_refused(tmp_path: Path, offset: int, length: int) -> None:
    arena = Arena(SIZE, tmp_path)
    with pytest.raises(ArenaUnusable):
        OpenArena(arena.id, tmp_path).copy(offset, length)
    arena.close()


def _other_size(path: Path) -> None:
    os.truncate(path, PAGE)


def _other_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"something")


def _writable(path: Path) -> None:
    path.chmod(0o666)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("harm", [Path.unlink, _other_size, _other_header, _writable, _link, _pipe])
def test_a_file_that_is_not_an_arena_is_not_read(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    arena = Arena(SIZE, tmp_path)
    harm(arena.path)
    with pytest.raises(ArenaUnusable):
        OpenArena(arena.id, tmp_path)
    arena.close()


def test_an_image_id_is_not_read_as_a_path(tmp_path: Path) -> None:
    for arena in ("", "../x", "0" * 31 + "/", "0" * 32 + "\n"):
        with pytest.raises(ArenaUnusable):
            OpenArena(arena, tmp_path)


def test_arenas_whose_owner_was_killed_are_removed_and_others_stay(tmp_path: Path) -> None:
    alive = Arena(SIZE, tmp_path)
    (tmp_path / f"fovea-arena-{'0' * 32}").write_bytes(b"left")
    (tmp_path / "other").write_bytes(b"")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {alive.path.name, "other"}
    alive.close()


def test_no_space_for_an_arena_fails_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"too large|No space|Invalid"):
        Arena(1 << 62, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_arena_that_was_never_completed_is_swept(tmp_path: Path) -> None:
    """Its owner was killed before it gave the file its name; a living owner holds the lock of its file."""
    dead, alive = tmp_path / f".fovea-arena-{'0' * 32}", tmp_path / f".fovea-arena-{'1' * 32}"
    dead.touch()
    with alive.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [alive]
