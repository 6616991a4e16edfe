"""Attention received by each patch: softmax over keys, summed over queries, mean over heads, in float32.

Computed separately, because attention kernels do not expose their weights; requesting it changes no row.
Independent of the model.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCORES_AT_ONCE = 8 * 1024 * 1024
"""Scores (query, key, head) in memory at a time: 32 MiB."""


def saliency(q: Tensor, k: Tensor, scores: int = SCORES_AT_ONCE) -> Tensor:
    """(patches,) from an image's rotated queries and keys, (patches, heads, head_dim). Sums to the number of
    patches.
    """
    patches, heads, head_dim = q.shape
    queries = q.float().transpose(0, 1) * head_dim**-0.5
    keys = k.float().permute(1, 2, 0)
    total = torch.zeros(patches, device=q.device)
    for part in queries.split(max(1, scores // (heads * patches)), dim=1):
        total += torch.bmm(part, keys).softmax(-1).sum((0, 1))
    return total / heads
