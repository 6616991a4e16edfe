"""Gumbel noise by counter: one number for each token id, from the key of a request's step and nothing else.

Adding it to the scaled logits and taking the largest draws from their softmax (the Gumbel-max trick). Because
a token's number does not depend on its rank, its neighbours or its batch, logits that differ in the last bits
give the same token unless two sums are as close as that. CPU and GPU compute the same integers.
"""

from __future__ import annotations

import math

from torch import Tensor

_WORD = 1 << 32
_EDGE = 0.5 / _WORD  # the least uniform number; the largest is 1 - _EDGE
SPREAD = math.log(math.log(_EDGE) / math.log1p(-_EDGE))
"""How far apart two numbers can be, 26.0: a token whose score is further below the best cannot be drawn."""


def gumbel(keys: Tensor, ids: Tensor) -> Tensor:
    """The numbers (n,) fp32 of the tokens `ids` (n,) under `keys` (n, 2): int64, words of 32 bits."""
    words = _mix(_mix(ids ^ keys[:, 0]) ^ keys[:, 1])
    uniform = (words.double() + 0.5) / _WORD
    return (-(-uniform.log()).log()).float()


def _mix(words: Tensor) -> Tensor:
    """Chris Wellons' lowbias32, a bijection of 32 bits.

    In int64 nothing overflows: the second factor is 0x846CA68B less 2**32, which is the same to the modulus.
    """
    words = ((words ^ (words >> 16)) * 0x7FEB352D) & (_WORD - 1)
    words = ((words ^ (words >> 15)) * (0x846CA68B - _WORD)) & (_WORD - 1)
    return words ^ (words >> 16)
