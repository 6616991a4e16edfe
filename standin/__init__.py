"""The stand-in: a real Qwen3-VL-MoE of three million parameters that reads small drawn pictures, and a dense
Qwen3-VL of less than half its size that reads them coarsely.

Imports nothing heavy.
"""

from __future__ import annotations

from pathlib import Path


def model_dir() -> Path:
    """The folder of the stand-in's weights, in the published checkpoint layout."""
    return Path(__file__).parent / "model"


def control_dir() -> Path:
    """The same model, trained the same way but never with dropped rows: what tolerance to dropping is told from.

    A checkout has it, the package fovea-standin does not.
    """
    return Path(__file__).parent / "control"


def small_dir() -> Path:
    """A smaller, dense model with the same tokenizer: good at coarse questions, poor at fine ones."""
    return Path(__file__).parent / "small"
