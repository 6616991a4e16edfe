"""Freed memory is reused without page faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from fovea.server.allocator import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit("another C library")

def faults(turns):
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(turns):
        blocks = [bytearray(b"x") * 1_000_000 for _ in range(8)]
        del blocks
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begin) / turns

faults(5)
print(faults(20))
"""


def faults(how: str) -> float:
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True)
    if "another C library" in done.stderr:
        pytest.skip("the C library is not glibc")
    return float(done.stdout)


def test_reused_blocks_of_rows_cause_no_page_faults() -> None:
    assert faults("kept") < 50
    assert faults("as it comes") > 10 * 50, "there is nothing left to mend"


FROZEN = """
import atexit, gc
from fovea.server.allocator import keep_loaded_objects
atexit.register(lambda: print(gc.get_freeze_count()))
keep_loaded_objects()
print(gc.get_freeze_count() > 0)
"""


def test_the_interpreter_collects_at_its_end_what_was_kept() -> None:
    """Otherwise extension modules see live objects at exit, and some print a page about leaks."""
    done = subprocess.run([sys.executable, "-c", FROZEN], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "0"]
