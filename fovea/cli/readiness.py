"""Waits until services are ready: by grpc.health.v1, or by `/readyz` of the gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from fovea.access.channel import ClientCredentials
from fovea.access.files import CredentialFile
from fovea.access.tls import TlsFiles
from fovea.cli.children import Child, Children
from fovea.cli.errors import NotReadyInTime

SERVICE = "readiness"
ASK_S = 2.0
PAUSE_S = 0.25
# Without a local pool, a new channel would inherit gRPC's growing reconnect backoff.
_OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


def is_ready(address: str, ca: str = "", server_name: str = "", service: str = SERVICE) -> bool:
    """Whether the service reports SERVING; False if it is unreachable. `ca` is a PEM file; it enables TLS.

    `service` is a name of its health service: readiness or liveness.
    """
    request = health_pb2.HealthCheckRequest(service=service)
    files = TlsFiles(ca=CredentialFile(Path(ca), "ca")) if ca else None
    access = ClientCredentials(files, server_name=server_name)
    with closing(access.open(grpc, reachable(address), _OPTIONS)) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=ASK_S)
        except grpc.RpcError:
            return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def answers_http(address: str) -> bool:
    """Whether a gateway reports that it is ready; False if it is unreachable."""
    with closing(HTTPConnection(reachable(address), timeout=ASK_S)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False


def reachable(address: str) -> str:
    """The address at which this machine can call a service that listens on `address`."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("0.0.0.0", "[::]", "") else address


def wait_until_ready(
    children: Children,
    waiting: Sequence[Child],
    timeout_s: float,
    ready: Callable[[Child, float], None],
    stopped: Callable[[float], bool],
    check: Callable[[str], bool] = is_ready,
) -> None:
    """Return once all of `waiting` are ready, or once `stopped`, which pauses between checks, returns True.

    `check` says whether the service at an address is ready. `ready` is called for each child with the seconds
    it took. Raises ServiceDied or NotReadyInTime.
    """
    started, pending = time.monotonic(), list(waiting)
    while pending:
        for child in list(pending):
            if check(child.address):
                pending.remove(child)
                ready(child, time.monotonic() - started)
        children.check()
        if pending and time.monotonic() - started > timeout_s:
            raise NotReadyInTime(pending[0].name, timeout_s)
        if pending and stopped(PAUSE_S):
            return
