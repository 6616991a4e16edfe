"""Special token ids and prompt settings, read from a checkpoint's config files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fovea import architecture
from fovea.architecture import Architecture


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
    """The values of config.json and generation_config.json that prompt building needs."""

    ids: SpecialIds
    merge: int  # patches per side of a visual token
    vocab_size: int

    @classmethod
    def load(cls, directory: Path) -> PromptConfig:
        """Raises CheckpointNotSupported."""
        config = architecture.load(directory)
        merge, size = config.vision_config.spatial_merge_size, config.text_config.vocab_size
        return cls(_ids(directory, config), merge, size)


def _ids(directory: Path, config: Architecture) -> SpecialIds:
    return SpecialIds(
        image=config.image_token_id,
        video=config.video_token_id,
        vision_start=config.vision_start_token_id,
        vision_end=config.vision_end_token_id,
        eos=architecture.eos_ids(directory, config),
    )
