"""What an install weighs without torch: `python -m tools.sizes requirements/encoder.lock`.

Adds up our wheel and those that a lock selects for Python 3.11 on Linux, as the package index lists them.
torch and what only torch needs are left out. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).parents[1]
PLATFORMS = [*(f"manylinux_2_{minor}_x86_64" for minor in range(36, 4, -1)), "manylinux2014_x86_64"]
TAGS = [*cpython_tags((3, 11), platforms=PLATFORMS), *compatible_tags((3, 11), "cp311", PLATFORMS)]
RANK = {tag: rank for rank, tag in enumerate(TAGS)}


def requirers(lock: Path) -> dict[str, set[str]]:
    """Who asks for each package of a lock, by its comments."""
    result = {}
    for entry in re.split(r"\n(?=\w)", lock.read_text(encoding="utf-8")):
        name = entry.partition("==")[0].partition("[")[0]
        comments = entry.replace("# via\n", "")
        result[name] = set(re.findall(r"^ +# +(?:via )?(\w[\w.-]*)", comments, re.MULTILINE))
    return result


def without(lock: Path, package: str) -> set[str]:
    """The packages of a lock that something else than `package` needs."""
    asked = requirers(lock)
    dropped = {package}
    while more := {name for name, by in asked.items() if by <= dropped} - dropped:
        dropped |= more
    return asked.keys() - dropped


def wheel_bytes(lock: Path) -> dict[str, int]:
    """The size of the wheel of each package of a lock, without torch and what only torch needs."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "pylock.toml"
        options = ["--no-deps", "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36"]
        _run("uv", "pip", "compile", str(lock), *options, "--quiet", "--output-file", str(listing))
        packages = tomllib.loads(listing.read_text(encoding="utf-8"))["packages"]
    wanted = without(lock, "torch")
    return {package["name"]: _chosen(package) for package in packages if package["name"] in wanted}


def our_bytes() -> int:
    """The size of our own wheel."""
    with tempfile.TemporaryDirectory() as folder:
        _run("hatchling", "build", "--target", "wheel", "--directory", folder)
        (wheel,) = Path(folder).glob("fovea-*.whl")
        return wheel.stat().st_size


def _run(module: str, *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )


def _chosen(package: dict[str, Any]) -> int:
    """The size of the wheel that an installer takes."""
    ranked = []
    for wheel in package["wheels"]:
        tags = parse_wheel_filename(wheel["url"].rpartition("/")[2])[3]
        ranked += [(RANK[tag], wheel["size"]) for tag in tags if tag in RANK]
    return int(min(ranked)[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("locks", type=Path, nargs="+", metavar="LOCK")
    ours = our_bytes()
    for lock in parser.parse_args().locks:
        sizes = {**wheel_bytes(lock), "fovea": ours}
        for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
            print(f"{size / 1e6:8.2f} MB  {name}")
        print(f"{sum(sizes.values()) / 1e6:8.2f} MB  {lock}: {len(sizes)} wheels\n")


if __name__ == "__main__":
    main()
