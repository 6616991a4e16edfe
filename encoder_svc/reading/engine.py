"""Engines that read text: their protocol, and which of them is installed. Loads no library of theirs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol

from encoder_svc.images.decode import Pixels
from fovea.contract.errors import TextReaderMissing
from fovea.contract.text import TextLine

VERSION_S = 10.0
_RAPID_PACKAGES = ("rapidocr", "onnxruntime")


class Engine(Protocol):
    """Reads the lines of an image, in a worker process."""

    def read(self, rgb: Pixels) -> Sequence[TextLine]: ...

    def cpu_seconds(self) -> float:
        """CPU time of this process, and of what it started and has waited for."""


@dataclass(frozen=True)
class ReaderIdentity:
    """The reader and its version. Text that another reader has read is read again."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def find_reader(name: str) -> ReaderIdentity:
    """The reader that the setting `text_reader` names. Raises TextReaderMissing."""
    if name == "rapidocr":
        return ReaderIdentity(name, _rapid_version())
    if name == "tesseract":
        return ReaderIdentity(name, _tesseract_version())
    raise TextReaderMissing(name, "text_reader is off")


def _rapid_version() -> str:
    missing = []
    found = []
    for package in _RAPID_PACKAGES:
        try:
            found.append(version(package))
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        what = f"{' and '.join(missing)} not installed; the extra `ocr` has them"
        raise TextReaderMissing("rapidocr", what)
    return f"{found[0]}, onnxruntime {found[1]}"


def _tesseract_version() -> str:
    command = shutil.which("tesseract")
    if command is None:
        raise TextReaderMissing("tesseract", "the command `tesseract` is not installed")
    try:
        done = subprocess.run([command, "--version"], capture_output=True, timeout=VERSION_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise TextReaderMissing("tesseract", "the command `tesseract` fails") from error
    words = done.stdout.decode(errors="replace").split()
    return words[1][:40] if len(words) > 1 else "unknown"
