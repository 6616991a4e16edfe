"""Every RPC of both services, health and reflection answer malformed and missing requests with typed errors.

RPCs are read from the descriptors, so that new RPCs are covered.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.failures import Failure, failure
from tests.e2e.house import CALL_S, House

pytestmark = pytest.mark.timeout(120)
FILES = (encoder_pb2, decoder_pb2, health_pb2, reflection_pb2)
METHODS = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if method.name != "List"  # of health: not served
]
GARBAGE = b"\xff\xff\xff"


async def called(house: House, method: MethodDescriptor, *requests: bytes) -> Failure:
    """Call like a proxy that knows nothing of the contract: any number of arbitrary messages."""
    side = (
        house.encoder_side
        if method.containing_service.file.name == encoder_pb2.DESCRIPTOR.name
        else house.decoder_side
    )
    channel: Any = side.channel
    make = channel.stream_stream if method.server_streaming else channel.stream_unary
    call = make(f"/{method.containing_service.full_name}/{method.name}")
    return await failure(call(iter(requests), timeout=CALL_S))


def test_both_services_health_and_reflection_are_called() -> None:
    assert len({method.containing_service.full_name for method in METHODS}) == 4


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
async def test_malformed_messages_are_refused(house: House, method: MethodDescriptor) -> None:
    error = await called(house, method, GARBAGE)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert error.metadata["method"].endswith(f"/{method.name}")


@pytest.mark.parametrize(
    "method", [m for m in METHODS if not m.client_streaming], ids=lambda method: method.full_name
)
async def test_a_missing_message_is_refused(house: House, method: MethodDescriptor) -> None:
    error = await called(house, method)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert "without a request" in error.message


@pytest.mark.parametrize(
    "method", [m for m in METHODS if m.name == "PutImage"], ids=lambda method: method.full_name
)
@pytest.mark.parametrize("digest", ["", "sha256:" + "1" * 64], ids=["without a digest", "with one"])
async def test_an_upload_with_a_malformed_second_message_is_refused(
    house: House, method: MethodDescriptor, digest: str
) -> None:
    pb2: Any = encoder_pb2 if "encoder" in method.full_name else decoder_pb2
    first = pb2.PutImageRequest(header=pb2.PutImageHeader(digest=digest), data=b"x")
    error = await called(house, method, first.SerializeToString(), GARBAGE)
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert error.metadata["method"].endswith("/PutImage")
