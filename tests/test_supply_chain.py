"""Lock files, their bills of materials, and the audit of known vulnerabilities."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from packaging.requirements import Requirement

from tools.audit import SHOWN, _listed

ROOT = Path(__file__).parents[1]
IMAGES = ("encoder", "decoder", "gateway", "ocr", "cuda")
LOCKS = {
    "requirements.lock": "sbom.json",
    "requirements-vllm.lock": "sbom-vllm.json",
    **{f"requirements/{image}.lock": f"sbom-{image}.json" for image in IMAGES},
}
VULNERABLE, SOUND = "jinja2", "xxhash"


def locked(lock: str) -> dict[tuple[str, str], set[str]]:
    """The hashes of each name and version."""
    packages: dict[tuple[str, str], set[str]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / lock).read_text(encoding="utf-8")):
        name, version = re.match(r"([\w.-]+)==([^\s;]+)", entry).groups()  # type: ignore[union-attr]
        packages[name, version] = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
    assert len(packages) > 10
    return packages


def make_sbom(folder: Path) -> None:
    subprocess.run(
        ["make", "sbom", f"SBOM_DIR={folder}"], cwd=ROOT, check=True, capture_output=True, timeout=240
    )


@pytest.fixture(scope="module")
def boms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boms")
    make_sbom(folder)
    return folder


@pytest.mark.long
@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_stands_in_the_bill_of_materials(boms: Path, lock: str) -> None:
    bom = json.loads((boms / LOCKS[lock]).read_text(encoding="utf-8"))
    assert bom["bomFormat"] == "CycloneDX"
    listed: dict[tuple[str, str], set[str]] = {}
    for component in bom["components"]:
        hashes = {
            entry["content"]
            for reference in component["externalReferences"]
            for entry in reference.get("hashes", ())
        }
        listed[component["name"], component["version"]] = hashes
        assert component["purl"].startswith(f"pkg:pypi/{component['name']}@{quote(component['version'])}")
    assert listed == locked(lock)


@pytest.mark.long
def test_a_bill_of_materials_is_reproducible(boms: Path, tmp_path: Path) -> None:
    make_sbom(tmp_path)
    for name in LOCKS.values():
        text = (boms / name).read_text(encoding="utf-8")
        assert (tmp_path / name).read_text(encoding="utf-8") == text
        assert not {"serialNumber", "timestamp"} & {*json.loads(text), *json.loads(text)["metadata"]}


class Database(BaseHTTPRequestHandler):
    """A vulnerability database that speaks OSV and knows a single vulnerability."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["content-length"])))
        body = json.dumps({"vulns": [_vulnerability()]} if query["package"]["name"] == VULNERABLE else {})
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


def _vulnerability() -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": "9.9.9"}]
    affected = {
        "package": {"name": VULNERABLE, "ecosystem": "PyPI"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": "TEST-1", "summary": "for a test", "affected": [affected]}


@pytest.fixture
def database() -> Iterator[list[str]]:
    """Options of an audit that asks this database."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield ["--vulnerability-service", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/"]
        server.shutdown()
        thread.join()


def audit(folder: Path, packages: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    lock = folder / "some.lock"
    lock.write_text("".join(f"{name}==1.0.0 --hash=sha256:{'0' * 64}\n" for name in packages))
    command = [sys.executable, "-m", "tools.audit", str(lock), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def test_sound_packages_pass_the_audit(tmp_path: Path, database: list[str]) -> None:
    done = audit(tmp_path, [SOUND], *database)
    assert (done.returncode, done.stdout) == (0, "some.lock: 1 packages audited, 0 vulnerabilities\n")


@pytest.mark.parametrize("options", [(), ("--tolerate-unreachable",)])
def test_a_vulnerable_package_fails_the_audit(
    tmp_path: Path, database: list[str], options: tuple[str, ...]
) -> None:
    done = audit(tmp_path, [SOUND, VULNERABLE], *database, *options)
    assert done.returncode == 1
    assert "some.lock: VULNERABLE jinja2 1.0.0: TEST-1, fixed in 9.9.9" in done.stdout


@pytest.mark.parametrize(("options", "status"), [((), 1), (("--tolerate-unreachable",), 0)])
def test_an_audit_without_its_database_says_so(tmp_path: Path, options: tuple[str, ...], status: int) -> None:
    nowhere = ("--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/")
    done = audit(tmp_path, [SOUND], *nowhere, *options)
    assert done.returncode == status, done.stderr
    assert done.stdout.startswith("some.lock: NOT AUDITED, the database cannot be reached")


@pytest.mark.parametrize("lock", [lock for lock in LOCKS if "cuda" not in lock])
def test_locked_versions_meet_the_requirements(lock: str) -> None:
    """vLLM asks for another llguidance than the native engine; without its override nothing fits both.

    The lock of an image holds what its service needs, so not every requirement stands in it.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *extras["encoder"], *extras["decoder"], *extras["dev"]]
    wanted = {requirement.name: requirement for requirement in map(Requirement, listed)}
    overrides = ROOT / lock.replace(".lock", ".overrides")
    lines = overrides.read_text(encoding="utf-8").splitlines() if overrides.exists() else []
    for override in (Requirement(line) for line in lines if not line.startswith("#")):
        wanted[override.name] = override
    versions = dict(locked(lock).keys())
    here = [requirement for requirement in wanted.values() if not requirement.marker]
    if lock.startswith("requirements/"):
        here = [requirement for requirement in here if requirement.name in versions]
    assert {"grpcio", "protobuf"} <= {requirement.name for requirement in here}
    for requirement in here:
        assert requirement.specifier.contains(versions[requirement.name]), requirement


def test_an_audit_lists_few_packages_without_an_answer() -> None:
    names = tuple(f"package-{number}" for number in range(SHOWN + 5))
    assert _listed(names[:2]) == "package-0, package-1"
    assert _listed(names).endswith(f"package-{SHOWN - 1} and 5 more packages")
