"""Keys: what must have the same key has it in every process, what must differ differs.

`python -m bench.fault_cases.keys` prints the digests of this module as JSON.

Measures: `pinned` counts digests that differ from tests/vectors/keys.json, `seeds` those that depend on
PYTHONHASHSEED, `options` fields that should change a key and do not or the reverse, `pitfalls` pairs of image
files that Pillow makes look equal or different and that are not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bench.fault_cases.pitfalls import PAIRS, outcome
from bench.host import ROOT, side
from bench.result import Measure, Result
from bench.runner import Run
from decoder_svc.encoders.source import RowRequest
from decoder_svc.images.prepare import prompt_salt
from encoder_svc.core import RowIdentity
from encoder_svc.store.keys import UploadKey, pixel_digest, pool_id, tenant_id, variant
from fovea.contract.plan import EncodePlan, Reducer, RowSelection
from fovea.contract.row_stream import kept_bytes
from fovea.contract.rows import RowDtype, RowLayout
from fovea.geometry import Geometry

PINNED = ROOT / "tests" / "vectors" / "keys.json"
SEEDS = ("0", "4242")
IDENTITY = RowIdentity("sha256:" + "ab" * 32, RowLayout(2048, 3, RowDtype.BF16), "bf16", Geometry())
GRID = (1, 12, 16)
REQUEST = RowRequest(
    digest="sha256:" + "cd" * 32, plan=EncodePlan(65_536), grid_thw=GRID, rows=48,
    fingerprint=IDENTITY.fingerprint, layout=IDENTITY.layout, tenant="alice",
)  # fmt: skip


def measure(run: Run) -> Result:
    run.status("digests in other processes")
    here, pinned = digests(), json.loads(PINNED.read_text(encoding="utf-8"))
    by_seed = [_in_a_process(seed) for seed in SEEDS]
    run.status("options and files")
    wrong = {
        "pinned": _differences(here, pinned),
        "seeds": [name for told in by_seed for name in _differences(here, told)],
        "options": [name for name, right in options().items() if not right],
        "pitfalls": [name for name, right in pitfalls().items() if not right],
    }
    counts = {"pinned": len(here), "seeds": len(here), "options": len(options()), "pitfalls": len(PAIRS)}
    return Result(
        config={"seeds": SEEDS},
        sides={"ours": side("fovea")},
        measures={
            name: Measure("count", len(names), counts[name], target=0, sense="at most")
            for name, names in wrong.items()
        },
        notes=[f"{kind}: {name}" for kind, names in wrong.items() for name in names],
    )


def digests() -> dict[str, str]:
    """Every kind of key and digest, as hex."""
    upload = UploadKey.of(tenant_id("alice"), "sha256:" + "cd" * 32)
    return {
        "tenant": tenant_id("alice").hex(),
        "pool": pool_id().hex(),
        "upload": upload.raw.hex(),
        "pixels": pixel_digest("RGB", 2, 1, b"abcdef").hex(),
        "fields": json.dumps(IDENTITY.fields(GRID), sort_keys=True),
        "variant": variant(IDENTITY.fields(GRID)).hex(),
        "variant without uniform patches": variant(IDENTITY.fields(GRID, 8)).hex(),
        "kept": kept_bytes(np.array([0, 3, 7], np.int32)).hex(),
        "salt": prompt_salt("alice", (0, 0)).hex(),
    }


def options() -> dict[str, bool]:
    """By option, whether flipping it changes the key exactly if it must."""
    base = variant(IDENTITY.fields(GRID))
    layouts = {"width": RowLayout(1024, 3, RowDtype.BF16), "levels": RowLayout(2048, 2, RowDtype.BF16)}
    layouts |= {"row_dtype": RowLayout(2048, 3, RowDtype.FP8)}
    identities = {name: replace(IDENTITY, layout=layout) for name, layout in layouts.items()}
    identities |= {
        "fingerprint": replace(IDENTITY, fingerprint="sha256:" + "ac" * 32),
        "compute_dtype": replace(IDENTITY, compute_dtype="fp32"),
    }
    changed = {name: variant(other.fields(GRID)) != base for name, other in identities.items()}
    changed["grid"] = variant(IDENTITY.fields((1, 16, 12))) != base
    for tolerance in (0, 8):
        changed[f"flat_tolerance {tolerance}"] = variant(IDENTITY.fields(GRID, tolerance)) != base
    changed["two tolerances"] = variant(IDENTITY.fields(GRID, 0)) != variant(IDENTITY.fields(GRID, 8))
    for name, value in _requests().items():
        changed[f"row request {name}"] = replace(REQUEST, **{name.split()[0]: value}) != REQUEST
    pooled = replace(REQUEST, shared=True)
    changed["tenants that share rows"] = pooled == replace(pooled, tenant="bob")
    changed["tenant"] = tenant_id("alice") != tenant_id("bob") != pool_id()
    changed["salt of a tenant"] = prompt_salt("alice", (0, 0)) != prompt_salt("bob", (0, 0))
    changed["salt after a deletion"] = prompt_salt("alice", (0, 0)) != prompt_salt("alice", (0, 1))
    return changed


def _requests() -> Mapping[str, Any]:
    """Another value for each field of a row request."""
    return {
        "digest": "sha256:" + "ce" * 32, "grid_thw": (1, 16, 12), "rows": 47,
        "fingerprint": "sha256:" + "ac" * 32, "layout": RowLayout(2048, 3, RowDtype.FP16), "tenant": "bob",
        "kept": np.arange(48, dtype=np.int32), "plan max_pixels": EncodePlan(65_537),
        "plan flat_tolerance": EncodePlan(65_536, 0), "shared": True,
        "plan keep": EncodePlan(65_536, None, RowSelection(keep=0.5)),
        "plan auto": EncodePlan(65_536, None, RowSelection(auto=True)),
        "plan reducer": EncodePlan(65_536, None, RowSelection(reducer=Reducer.STRIDE)),
    }  # fmt: skip


def pitfalls() -> dict[str, bool]:
    """By pair of files, whether the outcome is the expected one."""
    return {pair.name: outcome(pair) == pair.expected for pair in PAIRS}


def _in_a_process(seed: str) -> dict[str, str]:
    command = [sys.executable, "-m", "bench.fault_cases.keys"]
    environ = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True)
    told: dict[str, str] = json.loads(done.stdout)
    return told


def _differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[str]:
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))


if __name__ == "__main__":
    print(json.dumps(digests(), indent=1))
