"""Waiting until services answer: asks grpc.health.v1 whether, and GetServerInfo how far loading has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fovea.cli.children import Child, Children
from fovea.cli.errors import NotReadyInTime

SERVICE = "readiness"
ASK_S = 2.0
PAUSE_S = 0.25
# Without a pool of its own, a new channel would inherit gRPC's ever longer pauses between attempts.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


def is_ready(address: str) -> bool:
    """Whether the service says that it serves; False where it cannot be reached."""
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    with closing(grpc.insecure_channel(reachable(address), options=_OPTIONS)) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=ASK_S)
        except grpc.RpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def reachable(address: str) -> str:
    """The address under which a service that listens there is asked from this machine."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]", "") else address


def wait_until_ready(
    children: Children,
    waiting: Sequence[Child],
    timeout_s: float,
    ready: Callable[[Child, float], None],
    stopped: Callable[[float], bool],
) -> None:
    """Returns once all of `waiting` are ready, or once `stopped`, which is also the pause, says so.

    `ready` hears each as it gets ready, with the seconds that took. Raises ServiceDied or NotReadyInTime.
    """
    began, left = time.monotonic(), list(waiting)
    while left:
        for child in list(left):
            if is_ready(child.address):
                left.remove(child)
                ready(child, time.monotonic() - began)
        children.check()
        if left and time.monotonic() - began > timeout_s:
            raise NotReadyInTime(left[0].name, timeout_s)
        if left and stopped(PAUSE_S):
            return
