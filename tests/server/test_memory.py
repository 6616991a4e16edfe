"""Memory as the kernel counts it, read from files as a container and a machine have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fovea.server.memory import MemoryUse, memory_use

MIB = 1 << 20
MACHINE = MemoryUse(3 * MIB, 8 * MIB)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine with 8 MiB, of which 3 are in use, and a container with 2 MiB of page cache."""
    write(
        tmp_path / "proc/meminfo",
        "MemTotal: 8192 kB\nMemFree: 1 kB\nMemAvailable: 5120 kB\nHugePages_Total: 0\n",
    )
    write(tmp_path / "proc/self/cgroup", "12:cpu:/elsewhere\n0::/box\n")
    folder = tmp_path / "sys/fs/cgroup/box"
    write(folder / "memory.max", f"{4 * MIB}\n")
    write(folder / "memory.current", f"{3 * MIB}\n")
    write(folder / "memory.stat", f"anon {MIB}\nfile {2 * MIB}\nshmem {MIB // 2}\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_page_cache_of_a_container_does_not_count_but_its_shared_memory_does(root: Path) -> None:
    assert memory_use(root) == MemoryUse(3 * MIB // 2, 4 * MIB)


@pytest.mark.parametrize("limit", ["max", str(16 * MIB)])
def test_a_container_without_a_limit_of_its_own_has_that_of_the_machine(root: Path, limit: str) -> None:
    write(root / "sys/fs/cgroup/box/memory.max", f"{limit}\n")
    assert memory_use(root) == MACHINE


def test_a_machine_without_cgroups_tells_its_own(root: Path) -> None:
    (root / "proc/self/cgroup").unlink()
    assert memory_use(root) == MACHINE


def test_a_system_that_tells_nothing_has_no_figures(tmp_path: Path) -> None:
    assert memory_use(tmp_path) is None


def test_this_machine_uses_some_of_its_memory() -> None:
    use = memory_use()
    assert use is not None
    assert 0 < use.used_bytes < use.limit_bytes
