"""Decodes an untrusted image file in a process of its own, which may be killed.

Runs as `python -m fovea.image_reader FD LIMITS`. `shown` with the bytes of a file answers its upright pixels.
"""

from __future__ import annotations

import socket
import sys

import numpy as np

from fovea.contract.errors import ImageInvalid
from fovea.images import opened, shown
from fovea.nursery import frames
from fovea.nursery.alone import run_alone
from fovea.nursery.limits import ChildLimits


def serve(caller: socket.socket, limits: ChildLimits) -> None:
    with caller.makefile("rb") as incoming:
        while request := frames.read(incoming):
            limits.restart_timer()
            try:
                rgb = np.array(shown(opened(request[1])).image.convert("RGB"))
            except ImageInvalid:
                caller.sendall(frames.packed({"corrupt": True}))
                continue
            caller.sendall(frames.packed({}, rgb.nbytes))
            caller.sendall(rgb.data.cast("B"))


if __name__ == "__main__":
    run_alone(serve, *sys.argv[1:])
