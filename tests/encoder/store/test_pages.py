"""A data file with damaged pages: the store opens within bounds, and its answers are right or misses.

Everything runs in processes with limits on memory and time: without the check at opening LMDB would loop,
allocate without bound or be killed by a signal.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.encoder.store.opener import fill

PAGE = 4096
BRANCH, LEAF, OVERFLOW = 1, 2, 4
HEADER = struct.Struct("<QHHHH")
FREE_ROOT, MAIN_ROOT, TRANSACTION = 80, 128, 144
FLIPS = 12


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A data file with records of every shape and freed pages."""
    folder = tmp_path_factory.mktemp("healthy")
    fill(folder)
    return (folder / "env" / "data.mdb").read_bytes()


@pytest.fixture(scope="module")
def opener() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.encoder.store.opener"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        yield running
        running.communicate()


@pytest.fixture
def opened(opener: subprocess.Popen[str], tmp_path: Path) -> Callable[[bytes], str]:
    """The outcome of a process that opens a store with these bytes as its data file."""

    def open_with(data: bytes) -> str:
        folder = tmp_path / "store"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "env").mkdir(parents=True)
        (folder / "env" / "data.mdb").write_bytes(data)
        assert opener.stdin is not None
        assert opener.stdout is not None
        print(folder, file=opener.stdin, flush=True)
        return opener.stdout.readline().strip()

    return open_with


class Pages:
    """The file as LMDB sees it: the roots of the committed trees, and the kind of each page."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        newest = max((0, PAGE), key=lambda meta: self.number(meta + TRANSACTION))
        self.meta = newest

    def number(self, offset: int) -> int:
        return int(struct.unpack_from("<Q", self.data, offset)[0])

    def write(self, form: str, offset: int, *values: int) -> None:
        struct.pack_into(form, self.data, offset, *values)

    def of_kind(self, kind: int) -> list[int]:
        """Offsets of pages that say they are of that kind; some may have been freed since."""
        offsets = []
        for offset in range(2 * PAGE, len(self.data), PAGE):
            number, _, flags, *_ = HEADER.unpack_from(self.data, offset)
            if number == offset // PAGE and flags == kind:
                offsets.append(offset)
        return offsets

    def nodes(self, page: int) -> list[int]:
        lower = HEADER.unpack_from(self.data, page)[3]
        return [page + at for (at,) in struct.iter_unpack("<H", self.data[page + 16 : page + lower])]


def test_a_healthy_file_is_opened(healthy: bytes, opened: Callable[[bytes], str]) -> None:
    assert opened(healthy) == "sound"


def point_a_branch_at_itself(pages: Pages) -> None:
    for page in pages.of_kind(BRANCH):
        for node in pages.nodes(page):
            pages.write("<HHH", node, page // PAGE & 0xFFFF, page // PAGE >> 16, 0)


def claim_a_huge_free_list(pages: Pages) -> None:
    page = pages.number(pages.meta + FREE_ROOT) * PAGE
    for node in pages.nodes(page):
        pages.write("<Q", node + 16, 2**32)


def free_a_page_in_use(pages: Pages) -> None:
    page = pages.number(pages.meta + FREE_ROOT) * PAGE
    node = pages.nodes(page)[0]
    pages.write("<Q", node + 24, pages.number(pages.meta + MAIN_ROOT))


def claim_huge_overflows(pages: Pages) -> None:
    for page in pages.of_kind(OVERFLOW):
        pages.write("<I", page + 12, 2**31)


def move_nodes_out_of_their_pages(pages: Pages) -> None:
    for page in pages.of_kind(LEAF):
        pages.write("<H", page + 16, PAGE - 2)


def overlong_keys(pages: Pages) -> None:
    for page in pages.of_kind(LEAF):
        for node in pages.nodes(page):
            pages.write("<H", node + 6, 0xFFFF)


def absurd_numbers_of_pieces(pages: Pages) -> None:
    """The value of a use: counter, bytes, pieces. Valid for LMDB, but its eviction deletes four billion pieces."""
    changed = 0
    for page in pages.of_kind(LEAF):
        for node in pages.nodes(page):
            size, _, _, key = struct.unpack_from("<HHHH", pages.data, node)
            if size == 20 and key > 16:
                pages.write(">I", node + 8 + key + 16, 2**32 - 1)
                changed += 1
    assert changed


def an_order_of_strangers(pages: Pages) -> None:
    """An order that names missing records: an eviction would find nothing to remove, for ever."""
    changed = 0
    for page in pages.of_kind(LEAF):
        for node in pages.nodes(page):
            size, _, _, key = struct.unpack_from("<HHHH", pages.data, node)
            if key == 8 and size in (48, 80):
                pages.data[node + 8 + 8] ^= 0xFF
                changed += 1
    assert changed


def nowhere(pages: Pages) -> None:
    pages.write("<Q", pages.meta + MAIN_ROOT, 2**40)


def another_kind_of_database(pages: Pages) -> None:
    """The flags of the main tree: keys are compared in reverse."""
    pages.write("<H", pages.meta + 92, 0x02)


@pytest.mark.parametrize(
    "damage",
    [
        point_a_branch_at_itself,
        claim_a_huge_free_list,
        free_a_page_in_use,
        claim_huge_overflows,
        move_nodes_out_of_their_pages,
        overlong_keys,
        absurd_numbers_of_pieces,
        an_order_of_strangers,
        nowhere,
        another_kind_of_database,
    ],
)
def test_damaged_pages_are_set_aside(
    healthy: bytes, opened: Callable[[bytes], str], damage: Callable[[Pages], None]
) -> None:
    pages = Pages(healthy)
    damage(pages)
    assert pages.data != healthy
    assert opened(bytes(pages.data)) == "set aside"


@pytest.mark.long
@pytest.mark.parametrize("place", ["meta", "header", "tree", "anywhere"])
def test_flipped_bits_never_end_the_process_nor_give_a_wrong_row(
    healthy: bytes, opened: Callable[[bytes], str], place: str
) -> None:
    """Flips bits of every kind of page. A flip in a value costs its record only, so not every file is set aside."""
    rng, pages = random.Random(place), Pages(healthy)
    trees = pages.of_kind(BRANCH) + pages.of_kind(LEAF)
    choose = {
        "meta": lambda: rng.choice((0, PAGE)) + rng.randrange(152),
        "header": lambda: rng.choice(trees) + rng.randrange(64),
        "tree": lambda: rng.choice(trees) + rng.randrange(PAGE),
        "anywhere": lambda: rng.randrange(len(healthy)),
    }[place]
    outcomes: Counter[str] = Counter()
    for _ in range(FLIPS):
        data = bytearray(healthy)
        for _ in range(rng.choice((1, 1, 4, 16))):
            data[choose()] ^= 1 << rng.randrange(8)
        outcomes[opened(bytes(data))] += 1
    assert set(outcomes) <= {"sound", "set aside"}, outcomes
