"""Which of several servers gets the work of a key: rendezvous hashing, and a bound on what each has at once.

The rank order of the others does not change when a server joins or leaves, so their caches stay useful. The
Go and the Java client make the same choice; `tests/vectors/decoders.json` holds all of them to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import xxhash

FREE_CALLS = 16
"""A server with fewer calls is never passed over. It computes as many together (`max_running` of a decoder is
16 on a CPU and 64 on a GPU), and the next server would compute again what this one has cached.
"""
SLACK = 5, 4
"""Above `FREE_CALLS` a server has at most 5/4 of the average."""


def ranked(key: str, addresses: Iterable[str]) -> list[str]:
    """The addresses by decreasing hash with the key (rendezvous hashing, Thaler and Ravishankar).

    The address is hashed as configured: a host name keeps its keys when the host behind it moves.
    """

    def weight(address: str) -> tuple[int, str]:
        return xxhash.xxh3_64_intdigest(f"{address}\n{key}".encode()), address

    return sorted(addresses, key=weight, reverse=True)


def owner(key: str, addresses: Iterable[str]) -> str:
    """The address that ranks first."""
    return ranked(key, addresses)[0]


def bound(calls: int, servers: int) -> int:
    """The most calls that a server may have, if `servers` have `calls` together. At least one is below it."""
    numerator, denominator = SLACK
    return max(FREE_CALLS, -(-numerator * calls // (denominator * servers)))


def bounded_owner(key: str, calls: Mapping[str, int]) -> str:
    """The first address in rank order that stays within the bound with a call more.

    `calls` are those that each address has now. Consistent hashing with bounded loads: Mirrokni, Thorup and
    Zadimoghaddam, 2018.
    """
    most = bound(sum(calls.values()) + 1, len(calls))
    return next(address for address in ranked(key, calls) if calls[address] < most)
