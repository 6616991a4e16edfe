"""The ids that the prompt and the engine must know by name, read from a checkpoint's config files.

This module reads JSON; it does not tokenise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea.checkpoint import CheckpointNotSupported, read_json
from fovea.fingerprint import model_type

CONFIG = "config.json"
GENERATION = "generation_config.json"


@dataclass(frozen=True)
class SpecialIds:
    """Token ids of the vision tags, and every id that ends an answer."""

    image: int
    video: int
    vision_start: int
    vision_end: int
    eos: tuple[int, ...]

    @property
    def all(self) -> frozenset[int]:
        return frozenset((self.image, self.video, self.vision_start, self.vision_end, *self.eos))


@dataclass(frozen=True)
class PromptConfig:
    """What prompt building takes from config.json and generation_config.json."""

    ids: SpecialIds
    merge: int  # patches a side of one visual token

    @classmethod
    def load(cls, directory: Path) -> PromptConfig:
        model_type(directory)  # refuses what is not a Qwen3-VL
        config = read_json(directory, CONFIG)
        try:
            return cls(_ids(directory, config), int(config["vision_config"]["spatial_merge_size"]))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointNotSupported(f"{CONFIG} lacks a usable {error}", file=CONFIG) from error


def _ids(directory: Path, config: dict[str, Any]) -> SpecialIds:
    return SpecialIds(
        image=int(config["image_token_id"]),
        video=int(config["video_token_id"]),
        vision_start=int(config["vision_start_token_id"]),
        vision_end=int(config["vision_end_token_id"]),
        eos=_eos(directory, config),
    )


def _eos(directory: Path, config: dict[str, Any]) -> tuple[int, ...]:
    """One id or several; generation_config.json rules, as in `transformers`."""
    found = None
    if (directory / GENERATION).is_file():
        found = read_json(directory, GENERATION).get("eos_token_id")
    if found is None:
        found = config["text_config"]["eos_token_id"]
    return tuple(int(i) for i in found) if isinstance(found, list) else (int(found),)
