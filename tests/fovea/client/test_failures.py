"""What a caller hears of a failure, and what it sends of itself."""

from __future__ import annotations

import grpc
import pytest

from fovea.client import Client
from fovea.client.errors import Unreachable
from fovea.errors import FoveaError, InvalidArgument, Violation
from tests.fovea.client.fakes import FakeDecoder, served


class EngineBusy(FoveaError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENGINE_BUSY"


def test_an_error_keeps_code_reason_facts_and_request(client, decoder):
    decoder.failure = EngineBusy("3 wait", retry_after_s=1.5, limit=3, waiting=3)
    with pytest.raises(FoveaError) as caught:
        client.ask("?")
    error = caught.value
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ENGINE_BUSY")
    assert error.metadata == {"limit": "3", "waiting": "3"}
    assert (error.retry_after_s, error.request_id, error.message) == (1.5, "request-1", "3 wait")


def test_field_violations_come_back(client, decoder):
    violation = Violation("messages[0].parts", "empty")
    decoder.failure = InvalidArgument("no parts", violations=[violation])
    with pytest.raises(FoveaError) as caught:
        client.ask("?")
    assert caught.value.violations == (violation,)


def test_nobody_there_is_said_with_the_address():
    with Client("127.0.0.1:1", timeout_s=10) as client, pytest.raises(Unreachable) as caught:
        client.info()
    assert caught.value.metadata == {"address": "127.0.0.1:1"}


def test_an_unavailable_that_the_server_explains_stays_as_it_is(client, decoder):
    decoder.failure = type("NotReady", (FoveaError,), {"code": grpc.StatusCode.UNAVAILABLE})("loading")
    decoder.failure.reason = "NOT_READY"
    with pytest.raises(FoveaError) as caught:
        client.ask("?")
    assert caught.value.reason == "NOT_READY"


def test_a_deadline_ends_a_call_that_does_not_end():
    decoder = FakeDecoder()
    decoder.hang = True
    with (
        served(decoder) as address,
        Client(address, timeout_s=0.5) as client,
        pytest.raises(FoveaError) as caught,
    ):
        client.ask("?")
    assert caught.value.reason == "DEADLINE_EXCEEDED"


def test_the_token_goes_along_as_a_bearer_token(decoder):
    with served(decoder) as address:
        with Client(address, "secret") as client:
            client.put(b"x")
            assert decoder.metadata["authorization"] == "Bearer secret"
        with Client(address) as client:
            client.put(b"x")
            assert "authorization" not in decoder.metadata
