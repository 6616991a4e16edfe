"""Builds and runs the images of the Dockerfile without a container engine: its steps, on overlay mounts.

The root file system of this machine replaces the base images, with our Python at /usr/local. A layer is a folder
of what a stage has changed. Needs root and Linux. Mounts are private to each process and end with it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import copytree, ignore_patterns

from tests.deploy.dockerfile import ROOT, Stage, Step, arguments, stages

RUN_S = 900
BASE_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin",
    # A Python that was built elsewhere looks for its own library there.
    "LD_LIBRARY_PATH": "/usr/local/lib",
}


def unavailable() -> str:
    """Why images cannot be built here, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0 or sys.version_info[:2] != (3, 11):
        return "images are built without a container engine by root on Linux only, with Python 3.11"
    return ""


@dataclass(frozen=True)
class Mount:
    source: Path
    target: str
    read_only: bool = False

    def script(self, root: Path) -> str:
        place = shlex.quote(f"{root}{self.target}")
        bind = f"mount --bind {shlex.quote(str(self.source))} {place}"
        return f"{bind} && mount -o remount,bind,ro {place}" if self.read_only else bind


@dataclass(frozen=True)
class Image:
    """`layers` from the last to the first."""

    layers: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: dict(BASE_ENVIRONMENT))
    folder: str = "/"
    user: int = 0
    command: tuple[str, ...] = ()


class Engine:
    """Builds in `scratch`, each stage once."""

    def __init__(self, scratch: Path, build_arguments: Mapping[str, str] | None = None) -> None:
        self._scratch = scratch
        self._arguments = {**arguments(), **(build_arguments or {})}
        self._built: dict[str, Image] = {}

    def build(self, target: str) -> Image:
        if target not in self._built:
            self._built[target] = self._stage(stages()[target])
        return self._built[target]

    def popen(
        self,
        image: Image,
        command: Sequence[str],
        environment: Mapping[str, str],
        mounts: Sequence[Mount] = (),
        **options: object,
    ) -> subprocess.Popen[bytes]:
        """A container of the image: its user, a read-only root, an empty /tmp, no capabilities."""
        places = self._new("places")
        for mount in mounts:
            (places / mount.target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        variables = {**image.environment, "HOME": "/nonexistent", **environment}
        words = [
            "setpriv", f"--reuid={image.user}", f"--regid={image.user}", "--clear-groups", "--no-new-privs",
            "--bounding-set=-all", "env", "-i", *(f"{name}={value}" for name, value in variables.items()), *command,
        ]  # fmt: skip
        layers = (places, *image.layers)
        return subprocess.Popen(self._isolated(layers, None, image.folder, words, mounts), **options)  # type: ignore[call-overload]

    def run(
        self, image: Image, *command: str, mounts: Sequence[Mount] = ()
    ) -> subprocess.CompletedProcess[str]:
        pipe = subprocess.PIPE
        process = self.popen(image, command, {}, mounts, stdout=pipe, stderr=pipe)
        out, err = process.communicate(timeout=RUN_S)
        return subprocess.CompletedProcess(command, process.returncode, out.decode(), err.decode())

    def _stage(self, stage: Stage) -> Image:
        known = stage.base in stages()
        image = self.build(stage.base) if known else Image()
        layer = self._new(stage.name)
        image = replace(image, layers=(layer, *image.layers))
        for step in stage.steps:
            image = self._step(step, image, layer)
        return image

    def _step(self, step: Step, image: Image, layer: Path) -> Image:
        match step.word:
            case "ARG":
                name, _, value = step.rest.partition("=")
                self._arguments.setdefault(name, value)
            case "ENV":
                pairs = (word.partition("=") for word in shlex.split(step.rest))
                added = {name: self._filled(value, image) for name, _, value in pairs}
                return replace(image, environment={**image.environment, **added})
            case "WORKDIR":
                (layer / step.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
                return replace(image, folder=step.rest)
            case "USER":
                return replace(image, user=int(step.rest))
            case "CMD":
                return replace(image, command=tuple(json.loads(step.rest)))
            case "COPY":
                self._copy(step, image, layer)
            case "RUN":
                self._run(step, image, layer)
            case _:
                raise ValueError(f"{step.word} is not supported here")
        return image

    def _filled(self, text: str, image: Image) -> str:
        known = {**self._arguments, **image.environment}
        return re.sub(r"\$\{?(\w+)\}?", lambda match: known[match[1]], text)

    def _copy(self, step: Step, image: Image, layer: Path) -> None:
        """From the context, without bytecode; or from another stage, as links to its files."""
        *sources, target = step.arguments.split()
        place = layer / os.path.join(image.folder, target).lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        if step.flags:
            stage = step.flags[0].removeprefix("--from=")
            for folder in reversed(self.build(stage).layers):
                part = folder / sources[0].lstrip("/")
                if part.exists():
                    _call("cp", "-al", "--remove-destination", f"{part}/.", str(place))
            return
        for source in sources:
            if (ROOT / source).is_dir():
                copytree(ROOT / source, place, dirs_exist_ok=True, ignore=ignore_patterns("__pycache__"))
            else:
                _call("cp", str(ROOT / source), str(place))

    def _run(self, step: Step, image: Image, layer: Path) -> None:
        mounts = [self._mount(flag) for flag in step.flags]
        for mount in mounts:
            (layer / mount.target.lstrip("/")).mkdir(parents=True, exist_ok=True)
        variables = {**_network(), **self._arguments, **image.environment, "HOME": "/root"}
        words = [
            "env",
            "-i",
            *(f"{name}={value}" for name, value in variables.items()),
            "sh",
            "-ec",
            step.arguments,
        ]
        command = self._isolated(image.layers[1:], layer, image.folder, words, mounts)
        _call(*command)

    def _mount(self, flag: str) -> Mount:
        """A cache is that of this machine; a bind is a folder that its stage made in a single layer."""
        fields = dict(part.split("=", 1) for part in flag.removeprefix("--mount=").split(","))
        if fields["type"] == "cache":
            cache = Path.home() / Path(fields["target"]).relative_to("/root")
            cache.mkdir(parents=True, exist_ok=True)
            return Mount(cache, fields["target"])
        layers = self.build(fields["from"]).layers
        source = next(path for layer in layers if (path := layer / fields["source"].lstrip("/")).exists())
        return Mount(source, fields["target"], read_only=True)

    def _isolated(
        self,
        lower: Sequence[Path],
        upper: Path | None,
        folder: str,
        words: Sequence[str],
        mounts: Sequence[Mount],
    ) -> list[str]:
        """The command line that runs `words` in a root of these layers, read-only without `upper`."""
        root, base = self._new("root"), self._new("base")
        layers = ":".join(map(str, [*lower, base]))
        lines = [
            # The layers lie below /, which may not be a layer beside them; an overlay of it may.
            self._overlay("/", self._new("unused"), base),
            self._overlay(layers, upper, root),
            f"mount --rbind /dev {root}/dev",
            f"mount -t proc proc {root}/proc",
            Mount(Path(sys.base_prefix), "/usr/local", read_only=True).script(root),
            f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp",
            *(mount.script(root) for mount in mounts),
            f"exec chroot {root} sh -c {shlex.quote(f'cd {folder} && exec {shlex.join(words)}')}",
        ]
        return ["unshare", "--mount", "sh", "-ec", "\n".join(lines)]

    def _overlay(self, lower: str, upper: Path | None, place: Path) -> str:
        over = f"lowerdir={lower}" + (f",upperdir={upper},workdir={self._new('work')}" if upper else "")
        return f"mount -t overlay overlay -o {shlex.quote(over)} {place}"

    def _new(self, name: str) -> Path:
        """A folder of its own."""
        number = len(list(self._scratch.iterdir())) if self._scratch.exists() else 0
        folder = self._scratch / f"{number}-{name}"
        folder.mkdir(parents=True)
        return folder


def _network() -> dict[str, str]:
    """How this machine reaches the package index, which a container engine passes on too."""
    names = r"(https?|no|all)_proxy|SSL_CERT_(FILE|DIR)|(PIP|UV)_(CERT|INDEX_URL|DEFAULT_INDEX)"
    return {name: value for name, value in os.environ.items() if re.fullmatch(names, name, re.IGNORECASE)}


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[-1][-400:]}\nfailed: {(done.stdout + done.stderr)[-2000:]}")
