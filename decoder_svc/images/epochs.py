"""Deletion epochs: numbers in the keys of the KV cache that change when an image or a tenant is deleted.

What was computed before is never found again, and its blocks are reused like any others. The numbers of the
most recent deletions are kept; an older key could only be found by its own tenant, for the same bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import count

MAX_EPOCHS = 65_536


class DeletionEpochs:
    """The number of the last deletion by tenant and image id; the empty id stands for the whole tenant."""

    def __init__(self) -> None:
        self._epochs: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._numbers = count(1)

    def advance(self, tenant: str, digest: str = "") -> None:
        self._epochs[tenant, digest] = next(self._numbers)
        self._epochs.move_to_end((tenant, digest))
        if len(self._epochs) > MAX_EPOCHS:
            self._epochs.popitem(last=False)

    def of(self, tenant: str, digest: str = "") -> tuple[int, int]:
        """The epochs of the tenant and of the image; 0 before the first deletion."""
        return self._epochs.get((tenant, ""), 0), self._epochs.get((tenant, digest), 0)
