"""The house rules, read off the source: who may import what, how large things are, what the README names."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("fovea", "encoder_svc", "decoder_svc")
GENERATED = ("_pb2.py", "_pb2_grpc.py")
RUNS_A_MODEL = {
    "encoder_svc/vision/tower.py",
    "encoder_svc/vision/checkpoint.py",
    "decoder_svc/engine",
}
SPEAKS_PROTOBUF = {
    "encoder_svc/service.py",
    "encoder_svc/app.py",
    "decoder_svc/service.py",
    "decoder_svc/convert.py",
    "decoder_svc/app.py",
    "decoder_svc/encoders/peer.py",
}
# The engine's modules that check and count, and must be usable where no torch is.
ENGINE_WITHOUT_TORCH = {"decoder_svc/engine/limits.py", "decoder_svc/engine/__init__.py"}


def modules(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    return [path for path in found if not path.name.endswith(GENERATED)]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def breaking(packages: tuple[str, ...], forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{name(path)} imports {module}"
        for path in modules(*packages)
        for module in imported(path)
        if module.split(".")[0] in forbidden
    ]


def functions(*packages: str) -> list[tuple[int, str]]:
    """(lines, place) of every function of our packages."""
    return [
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{name(path)}:{node.lineno} {node.name}")
        for path in modules(*packages)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_the_services_do_not_know_each_other() -> None:
    assert breaking(("encoder_svc",), ("decoder_svc",)) == []
    assert breaking(("decoder_svc",), ("encoder_svc",)) == []


def test_fovea_knows_neither_service_nor_torch() -> None:
    assert breaking(("fovea",), ("encoder_svc", "decoder_svc", "torch", "transformers")) == []


def test_torch_is_imported_only_by_what_runs_a_model() -> None:
    strangers = [
        place
        for place in breaking(("encoder_svc", "decoder_svc"), ("torch", "transformers"))
        if not any(place.startswith(allowed) for allowed in RUNS_A_MODEL)
        or place.split(" ")[0] in ENGINE_WITHOUT_TORCH
    ]
    assert strangers == []


def test_protobuf_stays_at_the_doors() -> None:
    strangers = [
        f"{name(path)} imports {module}"
        for path in modules("encoder_svc", "decoder_svc")
        for module in imported(path)
        if ("protobuf" in module or re.match(r"fovea\.(vision|encoder|decoder)\.v1", module))
        and name(path) not in SPEAKS_PROTOBUF
    ]
    assert strangers == []


def test_nothing_is_unpickled() -> None:
    sources = {name(path): path.read_text() for path in modules(*PACKAGES, "standin")}
    assert [place for place, text in sources.items() if "torch.load(" in text] == []
    assert breaking((*PACKAGES, "standin"), ("pickle", "cloudpickle", "dill", "joblib")) == []


def test_files_and_functions_stay_small() -> None:
    lines = {name(path): len(path.read_text().splitlines()) for path in modules(*PACKAGES)}
    assert {place: count for place, count in lines.items() if count > 400} == {}
    sizes = functions(*PACKAGES)
    assert [place for size, place in sizes if size > 60] == []
    assert statistics.median(size for size, _ in sizes) <= 10


def test_every_module_says_what_it_is() -> None:
    silent = [
        name(p)
        for p in modules(*PACKAGES, "standin", "bench")
        if not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert silent == []


def test_the_lock_pins_by_hash_and_names_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    packages = re.findall(r"^[a-z0-9][a-z0-9._-]*==", lock, re.MULTILINE | re.IGNORECASE)
    assert len(packages) > 50
    assert lock.count("--hash=sha256:") >= len(packages)


def test_make_help_lists_at_most_twenty_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    targets = phony[1].split()
    assert len(targets) <= 20
    assert [target for target in targets if not re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)] == []


def tree() -> dict[str, str]:
    """Path and note of every line of the README's tree; a folder ends in a slash."""
    block = re.search(r"```text\n(protos/.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    if not block:
        pytest.fail("the README has no tree that begins with protos/")
    paths: dict[str, str] = {}
    folders: list[str] = []
    for line in block[1].splitlines():
        indent, (entry, _, note) = (len(line) - len(line.lstrip())) // 2, line.strip().partition(" ")
        folders = folders[:indent]
        paths["".join(folders) + entry] = note.strip()
        if entry.endswith("/"):
            folders.append(entry)
    return paths


def test_the_tree_in_the_readme_is_the_tree() -> None:
    named = tree()
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert [path for path, note in named.items() if not note] == []
    for package in PACKAGES:
        here = [p for p in sorted((ROOT / package).iterdir()) if not p.name.startswith("__")]
        for path in here:
            entry = name(path) + ("/" if path.is_dir() else "")
            if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py"))):
                assert entry in named, f"the README's tree lacks {entry}"
