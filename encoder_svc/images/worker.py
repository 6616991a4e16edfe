"""A worker: decodes untrusted files in a process that may be killed, one at a time.

Runs as `python -m encoder_svc.images.worker`, which loads what decoding needs and forks the workers. A worker
is reused, because a fork per image costs more than a small image. It ends after MAX_TURNS images, or if it
has grown. The gate is loaded before the first fork. If that fails, it is logged once, and rules decide kinds.
"""

from __future__ import annotations

import io
import json
import socket
import sys
from dataclasses import asdict, dataclass

import structlog
from PIL import Image

from encoder_svc.gate.gate import Gate, GateSettings, GateUnavailable
from encoder_svc.images import decode
from encoder_svc.images.limits import ImageLimits
from encoder_svc.images.replies import refusal
from fovea import logs
from fovea.contract.errors import FoveaError
from fovea.contract.image import ImageFacts
from fovea.nursery import frames
from fovea.nursery.limits import ChildLimits, address_space
from fovea.nursery.server import Nursery
from fovea.server.allocator import keep_freed_memory

MAX_TURNS = 1000


@dataclass(frozen=True)
class Worker:
    """Serves the images that arrive on a socket. Each has all of the CPU time."""

    limits: ImageLimits
    child: ChildLimits
    gate: Gate | None = None

    def serve(self, caller: socket.socket) -> None:
        """Until the caller leaves, or the worker is to be replaced."""
        most = address_space() + self.child.memory_bytes // 2
        with caller.makefile("rb") as incoming:
            for turn in range(1, MAX_TURNS + 1):
                request = frames.read(incoming)
                if request is None:
                    return
                self.child.restart_timer()
                header, body = self._reply(request[0]["task"], request[1])
                last = turn == MAX_TURNS or address_space() > most
                caller.sendall(frames.packed({**header, "last": last}, body.nbytes))
                caller.sendall(body)

    def _reply(self, task: str, data: bytes) -> tuple[frames.Header, memoryview]:
        try:
            if task == "facts":
                return {"facts": asdict(self._facts(data))}, memoryview(b"")
            rgb = decode.pixels(data, self.limits)
        except FoveaError as error:
            return refusal(error), memoryview(b"")
        return {"height": rgb.shape[0], "width": rgb.shape[1]}, rgb.data.cast("B")

    def _facts(self, data: bytes) -> ImageFacts:
        decoded = decode.decode(data, self.limits)
        return self.gate.refine(decoded.rgb, decoded.facts) if self.gate else decoded.facts


def _warm_up(limits: ImageLimits) -> None:
    """Decode an image of each format, so that the codecs are loaded once and outside of a worker's limits."""
    for format in limits.formats:
        file = io.BytesIO()
        Image.effect_noise((64, 64), 90).convert("RGB").save(file, format)
        decode.decode(file.getvalue(), limits)


def _load_gate(settings: GateSettings) -> Gate | None:
    """None if it is not available."""
    try:
        return Gate.load(settings)
    except GateUnavailable as error:
        logs.configure(settings.log_form, settings.log_level)
        structlog.get_logger().warning("gate unavailable, rules decide kinds", cause=str(error))
        return None


def main(control_fd: str, settings: str, limits: str) -> None:
    given = json.loads(settings)
    image_limits = ImageLimits(**{**given["images"], "formats": tuple(given["images"]["formats"])})
    child_limits = ChildLimits(**json.loads(limits))
    keep_freed_memory()
    _warm_up(ImageLimits(formats=image_limits.formats))
    gate = _load_gate(GateSettings(**given["gate"])) if given["gate"] else None
    worker = Worker(image_limits, child_limits, gate)
    Nursery(socket.socket(fileno=int(control_fd)), worker.serve, child_limits).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
