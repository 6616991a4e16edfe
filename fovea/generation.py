"""Typed values of generation_config.json: how a checkpoint's makers sample from it.

Only requests with `checkpoint_defaults` use them. Values that the contract would refuse from a caller are
refused at start. Independent of torch and transformers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from fovea.architecture import GENERATION, CheckpointFields, read_fields
from fovea.checkpoint import read_json
from fovea.contract.sampling import MAX_COUNT_PENALTY, MAX_PENALTY, MAX_TEMPERATURE, MIN_PENALTY

SAMPLED_TEMPERATURE = 1.0
"""Of a checkpoint that is to be sampled and gives no temperature, as in `generate`."""


class SamplingDefaults(CheckpointFields):
    """What the file says about sampling. None is not given."""

    do_sample: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=MAX_TEMPERATURE)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=MIN_PENALTY, le=MAX_PENALTY)] | None = None
    presence_penalty: Annotated[float, Field(ge=-MAX_COUNT_PENALTY, le=MAX_COUNT_PENALTY)] | None = None


def sampling_defaults(directory: Path | str) -> dict[str, float]:
    """Parameters of `Sampling` by name; empty without the file. Raises CheckpointNotSupported."""
    if not (Path(directory) / GENERATION).is_file():
        return {}
    given = read_fields(SamplingDefaults, read_json(directory, GENERATION), GENERATION)
    values = given.model_dump(exclude_none=True, exclude={"do_sample"})
    if given.do_sample is False:
        values["temperature"] = 0.0
    elif given.do_sample:
        values.setdefault("temperature", SAMPLED_TEMPERATURE)
    return values
