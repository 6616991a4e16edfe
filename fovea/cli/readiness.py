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
# Our polls must not wait for gRPC's own ever longer pauses between attempts.
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


def is_ready(channel: grpc.Channel) -> bool:
    """Whether the service behind the channel says that it serves; False where it cannot be reached."""
    request = health_pb2.HealthCheckRequest(service=SERVICE)
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
    began = time.monotonic()
    for child in waiting:
        with closing(grpc.insecure_channel(reachable(child.address), options=_OPTIONS)) as channel:
            while not is_ready(channel):
                children.check()
                if time.monotonic() - began > timeout_s:
                    raise NotReadyInTime(child.name, timeout_s)
                if stopped(PAUSE_S):
                    return
        ready(child, time.monotonic() - began)
