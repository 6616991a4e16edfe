"""A child without a nursery, for a caller that has little untrusted input: a process of its own."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable

from fovea.nursery.limits import ChildLimits

Serve = Callable[[socket.socket, ChildLimits], object]


def run_alone(serve: Serve, fd: str, limits: str) -> None:
    """Serve the caller at the socket `fd`. The arguments are those of the command line."""
    child = ChildLimits(**json.loads(limits))
    child.impose()
    try:
        serve(socket.socket(fileno=int(fd)), child)
    except MemoryError:
        os.abort()
