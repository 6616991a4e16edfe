"""The rules of the repository: imports, sizes, lock files, Makefile, the tree in docs/structure.md.

The sources are parsed with ast; no package of the repository is imported.
"""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED, ENCODER, DECODER, GATEWAY = "fovea", "encoder_svc", "decoder_svc", "gateway_svc"
SERVED = (SHARED, ENCODER, DECODER, GATEWAY)
OURS = (*SERVED, "standin", "bench")
MAX_FILE, MAX_FUNCTION, MEDIAN_FUNCTION, MAX_TARGETS = 400, 60, 10, 20

# The modules that run a model, and so may import torch and safetensors. All others may not.
RUN_A_MODEL = {
    "encoder_svc/vision/attention.py", "encoder_svc/vision/block.py", "encoder_svc/vision/checkpoint.py",
    "encoder_svc/vision/forward.py", "encoder_svc/vision/modules.py", "encoder_svc/vision/pack.py", "encoder_svc/vision/positions.py", "encoder_svc/vision/saliency.py",
    "encoder_svc/vision/tower.py",
    "decoder_svc/native_engine/batch.py", "decoder_svc/native_engine/build.py", "decoder_svc/native_engine/worker.py",
    "decoder_svc/native_engine/failures.py",
    "decoder_svc/model/attention.py", "decoder_svc/model/batch.py", "decoder_svc/model/checkpoint.py",
    "decoder_svc/model/experts.py", "decoder_svc/model/finite.py", "decoder_svc/model/graphs.py", "decoder_svc/model/layer.py",
    "decoder_svc/model/linear.py", "decoder_svc/model/load.py", "decoder_svc/model/modules.py", "decoder_svc/model/pages.py",
    "decoder_svc/model/rotary.py",
    "decoder_svc/model/unpack.py", "decoder_svc/model/text.py", "decoder_svc/sampling/noise.py", "decoder_svc/sampling/sampler.py",
    "decoder_svc/vllm_engine/model.py", "decoder_svc/vllm_engine/submission.py",
}  # fmt: skip
MODEL_LIBRARIES = {"torch", "safetensors"}

# Where messages of the contract may be known. `app.py` only registers the generated servicer.
KNOW_PROTOBUF = {
    "encoder_svc/service.py", "decoder_svc/service.py", "decoder_svc/usage_service.py", "decoder_svc/convert.py",
    "decoder_svc/encoders/remote.py", "decoder_svc/encoders/link.py",
    "gateway_svc/readiness.py",
}  # fmt: skip
REGISTER = {"encoder_svc/app.py", "decoder_svc/app.py"}

# From the lowest layer up. A module or folder imports only from layers below its own.
LAYERS = {
    ENCODER: (
        "errors",
        "store slots single_flight",
        "gate tenant shared_settings",
        "images permits settings",
        "shared",
        "reading reduction vision uploads",
        "core",
        "job_builder rankings row_cache texts",
        "encoder",
        "leases",
        "state",
        "metrics",
        "service",
        "app",
        "__main__",
    ),
    DECODER: (
        "errors ledger_settings",
        "engine",
        "budget encoders prompt model",
        "sampling",
        "native_engine vllm_engine request settings",
        "images convert admission parsing",
        "count receipt",
        "stages",
        "ledger",
        "answer",
        "tiers",
        "state",
        "metrics service usage_service",
        "app",
        "__main__",
    ),
    GATEWAY: (
        "errors hosts addresses field_names readiness",
        "settings fields fetch metrics",
        "conversation gateway caller tools origin",
        "body disconnect error_body images openai_messages extension completion",
        "endpoint event_stream layers responses_input anthropic_messages parameters",
        "models health files",
        "chat",
        "count page page_plan page_usage",
        "page_api",
        "tls connection",
        "http_server",
        "app",
        "__main__",
    ),
    SHARED: (
        "decoder encoder vision ids",
        "address arena breaker contract dns logs rate rendezvous",
        "access calibration checkpoint deadline hashing images machine nursery pooled settings target",
        "image_reader pdf_reader",
        "finite geometry",
        "fingerprint planning server",
        "architecture",
        "client generation",
        "cli",
    ),
}


@dataclass(frozen=True)
class Source:
    """A module: its path in the repository, its text, its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.split("/")[0]

    @property
    def imports(self) -> set[str]:
        """Full names of imported modules, of names imported from them too, wherever the statement stands."""
        result: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                result |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                result |= {module} | {f"{module}.{alias.name}" for alias in node.names}
        return result

    @property
    def roots(self) -> set[str]:
        return {name.split(".")[0] for name in self.imports}

    @property
    def functions(self) -> Iterator[tuple[str, int]]:
        """Name and length in lines, decorators not counted."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{self.path}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def sources() -> list[Source]:
    result = []
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "_pb2" not in path.name:
                text = path.read_text(encoding="utf-8")
                result.append(Source(str(path.relative_to(ROOT)), text, ast.parse(text)))
    return result


SOURCES = sources()


def test_there_are_sources() -> None:
    assert {source.package for source in SOURCES} == set(OURS)


@pytest.mark.parametrize(
    ("package", "never"),
    [
        (ENCODER, {DECODER, GATEWAY, "standin", "bench"}),
        (DECODER, {ENCODER, GATEWAY, "standin", "bench"}),
        (GATEWAY, {ENCODER, DECODER, "standin", "bench"}),
        (SHARED, {ENCODER, DECODER, GATEWAY, "bench"}),
    ],
)
def test_packages_do_not_import_each_other(package: str, never: set[str]) -> None:
    wrong = {s.path: s.roots & never for s in SOURCES if s.package == package and s.roots & never}
    assert not wrong


def _layer(module: str) -> str:
    return module.split(".")[1]


def _arrows(package: str) -> dict[str, set[str]]:
    """Which modules and folders of a package's first level import which others."""
    own = {
        s.path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): s
        for s in SOURCES
        if s.package == package
    }
    arrows: dict[str, set[str]] = {}
    for name, source in own.items():
        if name == package:
            continue
        targets = {_layer(other) for other in source.imports if other in own and other != package}
        arrows.setdefault(_layer(name), set()).update(targets - {_layer(name)})
    return arrows


@pytest.mark.parametrize("package", LAYERS)
def test_folders_import_only_what_is_below_them(package: str) -> None:
    """This also rules out cycles between folders."""
    order = {name: at for at, names in enumerate(LAYERS[package]) for name in names.split()}
    arrows = _arrows(package)
    assert arrows.keys() <= order.keys(), "a module without a layer"
    upward = {(low, high) for low, highs in arrows.items() for high in highs if order[high] >= order[low]}
    assert not upward


def test_only_modules_that_run_a_model_import_torch_and_its_kin() -> None:
    paths = {s.path for s in SOURCES if s.package in SERVED and s.roots & MODEL_LIBRARIES}
    assert paths == RUN_A_MODEL


def test_transformers_is_for_tests_and_training_only() -> None:
    """It and what it brings are as large as all else that a service needs beside torch."""
    paths = {s.path for s in SOURCES if s.package in SERVED and s.roots & {"transformers", "huggingface_hub"}}
    assert not paths


def test_the_shared_package_and_both_services_load_without_torch() -> None:
    """Not only by their own statements: nothing that they import brings it in."""
    script = """
import importlib, pkgutil, sys, fovea
names = [m.name for m in pkgutil.walk_packages(fovea.__path__, "fovea.") if "__main__" not in m.name]
for name in [*names, "gateway_svc.app", "encoder_svc.service", "encoder_svc.state", "decoder_svc.service", "decoder_svc.state"]:
    importlib.import_module(name)
print(sorted({"torch", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_protobuf_below_the_service() -> None:
    def known(source: Source) -> set[str]:
        return {
            name
            for name in source.imports
            if re.search(r"_pb2\b", name) or name.startswith("google.protobuf")
        }

    for source in SOURCES:
        if source.package not in (ENCODER, DECODER, GATEWAY) or source.path in KNOW_PROTOBUF:
            continue
        allowed = r"_pb2_grpc\b" if source.path in REGISTER else r"$^"
        wrong = {name for name in known(source) if not re.search(allowed, name)}
        assert not wrong, source.path


def test_nothing_is_unpickled() -> None:
    for source in SOURCES:
        assert not source.roots & {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}, (
            source.path
        )
        calls = {ast.unparse(node.func) for node in ast.walk(source.tree) if isinstance(node, ast.Call)}
        assert not calls & {"torch.load", "torch.save", "eval", "exec"}, source.path


def test_no_assert_checks_what_comes_from_outside() -> None:
    """Python removes it under -O; what can go wrong in production has an error of its own."""
    asserting = [
        s.path
        for s in SOURCES
        if s.package in SERVED and any(isinstance(n, ast.Assert) for n in ast.walk(s.tree))
    ]
    assert not asserting


def test_every_module_says_what_it_is() -> None:
    silent = [source.path for source in SOURCES if not ast.get_docstring(source.tree)]
    assert not silent


def test_files_and_functions_stay_small() -> None:
    """Prints the table that the limits are about."""
    rows = []
    for package in OURS:
        files = {s.path: len(s.text.splitlines()) for s in SOURCES if s.package == package}
        lengths = sorted(n for s in SOURCES if s.package == package for _, n in s.functions)
        ninth = lengths[int(0.9 * (len(lengths) - 1))]
        median = statistics.median(lengths)
        rows.append(
            (package, len(files), sum(files.values()), statistics.median(files.values()), median, ninth)
        )
        assert median <= MEDIAN_FUNCTION, package
    print(f"\n{'package':12} files  lines  median file  median function  p90 function")
    for name, count, lines, file, median, ninth in rows:
        print(f"{name:12} {count:5} {lines:6} {file:12.0f} {median:16.0f} {ninth:13}")
    long_files = {s.path: n for s in SOURCES if (n := len(s.text.splitlines())) > MAX_FILE}
    long_functions = {name: n for s in SOURCES for name, n in s.functions if n > MAX_FUNCTION}
    assert not long_files
    assert not long_functions


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-vllm.lock"])
def test_the_lock_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert not re.search(r"https?:|ftp:|git\+|file:|--index|--extra-index|--find-links| @ ", text)
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    pinned = [entry for entry in entries if re.match(r"[A-Za-z0-9._-]+(\[.*\])?==", entry)]
    assert len(pinned) > 50
    bare = [entry.splitlines()[0] for entry in pinned if "--hash=sha256:" not in entry]
    assert not bare
    unpinned = [e.splitlines()[0] for e in entries if e not in pinned and not e.lstrip().startswith("#")]
    assert not unpinned


def test_make_has_few_targets_and_help_for_each() -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    rules = [line for line in lines if re.match(r"[a-z][a-z0-9_-]*:(?!=)", line)]
    assert 0 < len(rules) <= MAX_TARGETS
    assert not [rule for rule in rules if not re.search(r"## \S", rule)]
    phony = {target for line in lines if line.startswith(".PHONY:") for target in line.split()[1:]}
    assert phony == {rule.split(":")[0] for rule in rules}


def _documented_tree() -> list[str]:
    """The paths in the fenced `text` block that begins with `protos/`: two spaces stand for the folder above."""
    blocks = re.findall(r"```text\n(.*?)```", (ROOT / "docs/structure.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if block.startswith("protos/")]
    paths, top = [], ""
    for line in block.splitlines():
        name, _, note = line.strip().partition(" ")
        assert note.strip(), f"{name} has no word of explanation"
        if line.startswith("  "):
            paths.append(top + name)
        else:
            top = name
            paths.append(name)
    return paths


def _ignored() -> set[str]:
    lines = (ROOT / ".gitignore").read_text().splitlines()
    return {line.strip().strip("/") for line in lines if line.strip() and not line.startswith("#")}


def _expected_in_the_tree() -> set[str]:
    """Every folder at the top, and in our packages every module and folder of the first level."""
    hidden = _ignored() | {"__pycache__"}
    paths = {
        f"{path.name}/"
        for path in ROOT.iterdir()
        if path.is_dir() and path.name not in hidden and not path.name.startswith(".")
    }
    for package in SERVED:
        for path in (ROOT / package).iterdir():
            if path.is_dir() and path.name not in hidden:
                paths.add(f"{package}/{path.name}/")
            elif path.suffix == ".py" and not path.name.startswith("__"):
                paths.add(f"{package}/{path.name}")
    return paths


def test_the_annotated_documented_tree_is_true() -> None:
    documented = _documented_tree()
    assert len(documented) == len(set(documented))
    gone = [path for path in documented if not (ROOT / path).exists()]
    assert not gone, f"named, but not there: {gone}"
    undocumented = sorted(_expected_in_the_tree() - set(documented))
    assert not undocumented, f"there, but not named: {undocumented}"
