"""Lets torch's CUDA build run on a CPU without the CUDA libraries: `python without_cuda.py SITE_PACKAGES`.

The default package index has no other build for Linux. It loads 2 GB of libraries at start and calls none of
them on a CPU. Each that is not there becomes an empty one, with its name, its symbol versions and the symbols
that torch looks up when it is loaded. A call would end the process, so hide every GPU: CUDA_VISIBLE_DEVICES=.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def missing(library: Path) -> set[str]:
    """The libraries that `library` needs, itself or through others, and that are not there."""
    return set(re.findall(r"(\S+) => not found", output("ldd", str(library))))


def versions(libraries: list[Path]) -> dict[str, set[str]]:
    """The symbol versions that `libraries` need of each library."""
    result: dict[str, set[str]] = defaultdict(set)
    for block in re.split(r"File: ", output("readelf", "--version-info", "--wide", *map(str, libraries)))[1:]:
        result[block.split()[0]] |= set(re.findall(r"Name: (\S+)", block))
    return result


def symbols(libraries: list[Path]) -> dict[str, set[str]]:
    """The symbols that `libraries` need of each version."""
    result: dict[str, set[str]] = defaultdict(set)
    listed = output("nm", "--dynamic", "--undefined-only", *map(str, libraries))
    for name, version in re.findall(r" U ([^@\s]+)@(\S+)", listed):
        result[version].add(name)
    return result


def write(folder: Path, library: str, needed: dict[str, set[str]]) -> None:
    """An empty library that defines the symbols `needed` of each version."""
    # A library without versions gets one all the same: the linker takes no empty list.
    nodes = needed or {library: set()}
    script, source = folder / "versions", folder / "empty.s"
    script.write_text("".join(f"{node} {{ {''.join(f'{n};' for n in nodes[node])} }};\n" for node in nodes))
    source.write_text("".join(f".globl {n}\n{n}:\n" for node in nodes for n in nodes[node]) + ".byte 0\n")
    link = (f"-Wl,-soname,{library}", f"-Wl,--version-script={script}")
    output("cc", "-shared", "-nostdlib", *link, "-o", str(folder / library), str(source))
    script.unlink()
    source.unlink()


def main(site_packages: Path) -> None:
    folder = site_packages / "torch" / "lib"
    torch = sorted(folder.glob("libtorch*.so"))
    of_library, of_version = versions(torch), symbols(torch)
    whole = folder / "libtorch_python.so"
    absent = sorted(missing(whole))
    plain = [library for library in absent if not of_library[library]]
    for library in absent:
        write(folder, library, {version: of_version[version] for version in sorted(of_library[library])})
    # What is still undefined names no version, so any library may define it. Python defines its own.
    rest = set(re.findall(r"undefined symbol: (?!_?Py)(\w+)", output("ldd", "-r", str(whole))))
    if rest:
        write(folder, plain[0], {plain[0]: rest})
    print("empty:", *absent)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
