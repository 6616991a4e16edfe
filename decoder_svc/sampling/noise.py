"""Gumbel noise by counter: a number for each token id, from the key of a request's step and nothing else.

Adding it to the scaled logits and taking the largest sum draws from their softmax (the Gumbel-max trick). A
token's number does not depend on its rank, its neighbours or its batch. So logits that differ in the last
bits give the same token unless two sums are that close. CPU and GPU compute the same integers.
"""

from __future__ import annotations

import math

from torch import Tensor

_WORD = 1 << 32
_EDGE = 0.5 / _WORD  # the least uniform number; the largest is 1 - _EDGE
SPREAD = math.log(math.log(_EDGE) / math.log1p(-_EDGE))
"""The largest difference of two numbers, 26.0. A token whose score is further below the best is never drawn.
"""


def gumbel(keys: Tensor, ids: Tensor) -> Tensor:
    """The numbers (n,) fp32 of the tokens `ids` (n,) under `keys` (n, 2): int64, words of 32 bits."""
    words = _mix(_mix(ids ^ keys[:, 0]) ^ keys[:, 1])
    uniform = (words.double() + 0.5) / _WORD
    return (-(-uniform.log()).log()).float()


def _mix(words: Tensor) -> Tensor:
    """Chris Wellons' lowbias32, a bijection of 32 bits.

    Nothing overflows in int64: the second factor is 0x846CA68B less 2**32, which is congruent.
    """
    words = ((words ^ (words >> 16)) * 0x7FEB352D) & (_WORD - 1)
    words = ((words ^ (words >> 15)) * (0x846CA68B - _WORD)) & (_WORD - 1)
    return words ^ (words >> 16)
