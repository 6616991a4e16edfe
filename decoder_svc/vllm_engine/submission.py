"""A request as vLLM takes it: a placeholder per image, rows as tensors, our key as their identity.

Refuses requests that vLLM would compute at other positions, or that would kill it. No import of vLLM.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoder_svc.engine.protocol import ImageSpan, Prompt
from decoder_svc.engine.row_buffer import RowBuffer
from decoder_svc.model.unpack import TORCH_DTYPE, unpack
from decoder_svc.prompt.positions import mrope_positions, rows_of
from fovea.contract.errors import InvalidArgument, RowsMismatch
from fovea.contract.row_stream import are_kept_indices
from fovea.contract.rows import RowDtype


def check_images(prompt: Prompt, merge: int) -> None:
    """Raises RowsMismatch or InvalidArgument unless vLLM gives each row the position in the prompt."""
    for number, image in enumerate(prompt.images):
        _check_image(number, image, merge)
    positions, following = mrope_positions(len(prompt.token_ids), prompt.images, merge)
    if following != prompt.next_position or not np.array_equal(positions, prompt.positions):
        raise InvalidArgument("the vLLM engine takes only the positions that follow from the images' grids")


def _check_image(number: int, image: ImageSpan, merge: int) -> None:
    t, h, w = image.grid_thw
    if t != 1 or h < 1 or w < 1 or h % merge or w % merge:
        raise RowsMismatch(f"image {number} has a grid of {t}x{h}x{w} patches", image=number)
    full, kept = rows_of(image.grid_thw, merge), _kept(image)
    if (
        len(kept) != image.rows
        or not are_kept_indices(kept, full)
        or (image.kept is None and image.rows != full)
    ):
        raise RowsMismatch(
            f"image {number} has {image.rows} rows, its grid gives {full}, {len(kept)} are kept",
            image=number,
            expected=full if image.kept is None else len(kept),
            received=image.rows,
        )


def _kept(image: ImageSpan) -> NDArray[np.int32]:
    """The raster indices of the rows that are present."""
    return np.arange(image.rows, dtype=np.int32) if image.kept is None else image.kept


def vllm_prompt(prompt: Prompt, rows: Sequence[RowBuffer], dtype: RowDtype) -> dict[str, Any]:
    """The prompt for `AsyncLLM.generate`, with all rows in the model's `dtype`."""
    inputs: dict[str, Any] = {"prompt_token_ids": _collapsed(prompt)}
    if prompt.salt:
        inputs["cache_salt"] = prompt.salt.hex()
    if prompt.images:
        inputs["multi_modal_data"] = {"image": _image_fields(prompt.images, rows, dtype)}
        inputs["multi_modal_uuids"] = {"image": [identity(image) for image in prompt.images]}
    return inputs


def _collapsed(prompt: Prompt) -> list[int]:
    """The token ids with a single placeholder per image."""
    present = np.ones(len(prompt.token_ids), bool)
    for image in prompt.images:
        present[image.start + 1 : image.end] = False
    ids: list[int] = prompt.token_ids[present].tolist()
    return ids


def _image_fields(
    images: Sequence[ImageSpan], rows: Sequence[RowBuffer], dtype: RowDtype
) -> dict[str, torch.Tensor]:
    """Fields of `vllm_engine.fields`, with the rows of all images concatenated."""
    return {
        "image_embeds": torch.cat([_tensor(buffer, TORCH_DTYPE[dtype]) for buffer in rows]),
        "image_grid_thw": torch.tensor([image.grid_thw for image in images]),
        "image_kept": torch.from_numpy(np.concatenate([_kept(image) for image in images])).long(),
        "image_rows": torch.tensor([[image.rows] for image in images]),
    }


def _tensor(buffer: RowBuffer, dtype: torch.dtype) -> torch.Tensor:
    """(rows, values), without a copy if the rows arrived in `dtype`."""
    return unpack(torch.from_numpy(buffer.data), buffer.layout, dtype).flatten(1)


def identity(image: ImageSpan) -> str:
    """Key, grid and kept indices for vLLM's caches, which trust it. An image without a key is unique."""
    if not image.key:
        return secrets.token_hex(32)
    digest = hashlib.sha256(image.key)
    digest.update(repr(image.grid_thw).encode())
    digest.update(b"" if image.kept is None else image.kept.astype("<i4").tobytes())
    return digest.hexdigest()
