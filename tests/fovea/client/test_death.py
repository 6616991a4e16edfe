"""A service that dies during a call ends the call."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest

from fovea.client import Client, EncoderClient
from fovea.contract.errors import FoveaError

ID = "sha256:" + "0" * 64
SILENT = """
import threading
from concurrent import futures
import grpc

class Silent(grpc.GenericRpcHandler):
    def service(self, call):
        return grpc.unary_stream_rpc_method_handler(self.wait)

    def wait(self, request, context):
        print("called", flush=True)
        threading.Event().wait()

server = grpc.server(futures.ThreadPoolExecutor(1))
server.add_generic_rpc_handlers((Silent(),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


@pytest.mark.parametrize(
    ("client", "call"),
    [(EncoderClient, lambda client: client.encode(ID)), (Client, lambda client: list(client.stream("Hi")))],
)
def test_a_stream_whose_service_is_killed_fails(client: Any, call: Any) -> None:
    ends: list[str] = []
    command = [sys.executable, "-c", SILENT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        port = int(service.stdout.readline())

        def ask() -> None:
            try:
                with client(f"127.0.0.1:{port}", timeout_s=60) as connected:
                    call(connected)
            except FoveaError as error:
                ends.append(error.code.name)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        assert service.stdout.readline() == "called\n"
        service.kill()
        asking.join(90)
    assert ends == ["UNAVAILABLE"]
