"""vLLM's CPU platform with a resource of Ray's, so that Ray places its processes.

vLLM names no such resource for CPUs and refuses to run there. Everything else is vLLM's own: the executor, the
workers, their collectives. A plugin of vLLM in every process that finds it.
"""

from __future__ import annotations

from pathlib import Path

from vllm.platforms.cpu import CpuPlatform

RESOURCE = "GPU"  # a node may claim more of them than it has


class CpuOnRay(CpuPlatform):
    ray_device_key = RESOURCE


def platform() -> str:
    return f"{__name__}.{CpuOnRay.__name__}"


def install(folder: Path) -> None:
    """Write into `folder` what makes it a plugin for processes that have `folder` on their path."""
    info = folder / "cpu_on_ray-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cpu-on-ray\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[vllm.platform_plugins]\ncpu_on_ray = {__name__}:platform\n")
