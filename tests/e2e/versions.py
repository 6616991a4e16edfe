"""The version that was tagged last, run from the repository's history beside the version of this tree.

The old sources run in this environment: only our packages differ. Without history, as in a shallow clone or an
archive, there is no old version to run.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.house import free_address
from tests.e2e.processes import Process

ROOT = Path(__file__).parents[2]
SERVICES = ("--metrics-listen", "", "--dtype", "fp32", "--device", "cpu", "--threads", "1")
ENCODER = ("--row-dtype", "fp32", "--cache-bytes", str(256 << 20), "--uploads-bytes", str(128 << 20))
DECODER = ("--kv-tokens", "8192", "--grace-s", "2")


class NoHistory(Exception):
    """The sources of the last tagged version are not available."""


@dataclass(frozen=True)
class Version:
    """A folder with the packages of a version. Its processes are stopped by whoever starts them."""

    name: str
    source: Path

    def encoder(self, model: Path, folder: Path) -> Process:
        """An encoder whose store is `folder / "store"`."""
        flags = ("--model", str(model), "--cache-dir", str(folder / "store"), *SERVICES, *ENCODER)
        return Process("encoder_svc", free_address(), flags, folder / "encoder.log", self.source)

    def decoder(self, model: Path, folder: Path, encoders: Sequence[str]) -> Process:
        flags = ("--model", str(model), "--encoders", ",".join(encoders), *SERVICES, *DECODER)
        return Process("decoder_svc", free_address(), flags, folder / "decoder.log", self.source)


THIS = Version("this version", ROOT)


@asynccontextmanager
async def started(process: Process) -> AsyncIterator[Process]:
    """The process, ready."""
    process.start()
    try:
        await process.until_ready()
        yield process
    finally:
        process.end()


def last_tagged(folder: Path) -> Version:
    """The last tagged version, its sources unpacked into `folder`. Raises NoHistory.

    `make baseline` names it. Where the clone lacks the tag, the commit that set the baseline stands for it.
    """
    (baseline,) = (ROOT / "protos" / "baseline").glob("*.binpb")
    tag = baseline.stem
    commit = _git("rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}") or _git(
        "log", "-1", "--format=%H", "--", str(baseline.relative_to(ROOT))
    )
    if not commit or _git("rev-parse", "--is-shallow-repository") != b"false":
        raise NoHistory(f"the sources of {tag} are not in this clone; they need its history")
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit.decode()))) as archive:
        archive.extractall(folder, filter="data")
    return Version(tag, folder)


def module_files(version: Version) -> list[Path]:
    """The files from which a process in the version's folder imports our packages."""
    names = "encoder_svc.app", "decoder_svc.app", "fovea.geometry"
    script = f"from importlib.util import find_spec\nfor name in {names}: print(find_spec(name).origin)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=version.source, capture_output=True, text=True, check=True)
    return [Path(line) for line in done.stdout.split()]


def _git(*args: str) -> bytes:
    """The output, empty if the command failed."""
    try:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        return b""
    return done.stdout if args[0] == "archive" else done.stdout.strip()
