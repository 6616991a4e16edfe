"""Known vulnerabilities of the locked packages: `python -m tools.audit requirements.lock`.

pip-audit does the work. By itself it reports success for packages that the database did not answer for, which
is every package behind an index without that database. Here those packages fail the audit, unless
`--tolerate-unreachable` is given.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 600
SHOWN = 10
"""Names in a line of output. Without the database, none of the packages has an answer."""


class Unreachable(Exception):
    """The database did not answer."""


@dataclass(frozen=True)
class Report:
    """The packages of a lock file: `vulnerable` with their vulnerabilities, and the `unaudited` ones."""

    audited: int
    unaudited: tuple[str, ...]
    vulnerable: tuple[str, ...]


def audit(lock: Path, options: list[str]) -> Report:
    """Run pip-audit with further `options`. Raises Unreachable."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "-r",
        str(lock),
        "--disable-pip",
        "--progress-spinner",
        "off",
    ]
    try:
        done = subprocess.run(
            [*command, "--format", "json", *options],
            capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"no answer within {LIMIT_S} s") from error
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError as error:
        last = (done.stderr.strip() or "no report").splitlines()[-1]
        raise Unreachable(last.partition(": ")[0]) from error
    return _report(packages)


def _report(packages: list[dict[str, object]]) -> Report:
    unaudited = [str(package["name"]) for package in packages if "skip_reason" in package]
    vulnerable = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version'}"
        for package in packages
        for vulnerability in package.get("vulns", ())  # type: ignore[attr-defined]
    ]
    return Report(len(packages) - len(unaudited), tuple(unaudited), tuple(vulnerable))


def check(lock: Path, options: list[str], tolerates: bool) -> bool:
    """Print the result. Whether the lock file passes."""
    try:
        report = audit(lock, options)
    except Unreachable as error:
        print(f"{lock.name}: NOT AUDITED, the database cannot be reached: {error}")
        return tolerates
    for line in report.vulnerable:
        print(f"{lock.name}: VULNERABLE {line}")
    if report.unaudited:
        print(f"{lock.name}: NOT AUDITED, no answer for {_listed(report.unaudited)}")
    print(f"{lock.name}: {report.audited} packages audited, {len(report.vulnerable)} vulnerabilities")
    return not report.vulnerable and (tolerates or not report.unaudited)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - SHOWN} more packages" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("locks", nargs="+", type=Path)
    parser.add_argument(
        "--tolerate-unreachable", action="store_true", help="pass if the database cannot be reached"
    )
    chosen, options = parser.parse_known_args()
    results = [check(lock, options, chosen.tolerate_unreachable) for lock in chosen.locks]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
