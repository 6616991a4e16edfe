"""How much attention each patch gets: softmax over keys, summed over queries, mean over heads, in float32.

Computed beside the attention itself, whose kernels never tell, so asking changes no row. Knows no model.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCORES_AT_ONCE = 8 * 1024 * 1024
"""Query, key and head pairs that are held at a time: 32 MiB."""


def saliency(q: Tensor, k: Tensor, scores: int = SCORES_AT_ONCE) -> Tensor:
    """(patches,) of one image's turned queries and keys, (patches, heads, head_dim). Sums to the patches."""
    patches, heads, head_dim = q.shape
    queries = q.float().transpose(0, 1) * head_dim**-0.5
    keys = k.float().permute(1, 2, 0)
    total = torch.zeros(patches, device=q.device)
    for part in queries.split(max(1, scores // (heads * patches)), dim=1):
        total += torch.bmm(part, keys).softmax(-1).sum((0, 1))
    return total / heads
