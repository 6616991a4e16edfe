"""Errors that a caller gets, and what the client sends with every call."""

from __future__ import annotations

import grpc
import pytest

from fovea.client import Image, errors
from fovea.contract.errors import FoveaError, InvalidArgument, RemoteError, Violation
from fovea.vision.v1 import errors_pb2
from tests.fovea.client.driven import decoder_client
from tests.fovea.client.fakes import served

MADE_BY_THE_COMMAND = {"FILE_NOT_READABLE", "SERVICE_DIED"}


class EngineBusy(FoveaError):
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "ENGINE_BUSY"


class LaterReason(FoveaError):
    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TIER_ASLEEP"


def test_every_reason_on_the_wire_has_a_class():
    reasons = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.keys()}
    assert set(errors.BY_REASON) == reasons - {"UNSPECIFIED", "UNKNOWN"} - MADE_BY_THE_COMMAND
    assert errors.BY_REASON["IMAGE_TOO_MANY_PIXELS"] is errors.ImageTooManyPixels
    assert errors.BY_REASON["UNAVAILABLE"] is errors.Unreachable


def test_an_error_keeps_code_reason_facts_and_request(client, decoder):
    decoder.failure = EngineBusy("3 wait", retry_after_s=1.5, limit=3, waiting=3)
    with pytest.raises(errors.EngineBusy) as caught:
        client.ask("?")
    error = caught.value
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "ENGINE_BUSY")
    assert error.metadata == {"limit": "3", "waiting": "3"}
    assert (error.retry_after_s, error.request_id, error.message) == (1.5, "request-1", "3 wait")
    assert isinstance(error, FoveaError)


def test_field_violations_come_back(client, decoder):
    violation = Violation("messages[0].parts", "empty")
    decoder.failure = InvalidArgument("no parts", violations=[violation])
    with pytest.raises(errors.InvalidArgument) as caught:
        client.ask("?")
    assert caught.value.violations == (violation,)


def test_a_reason_of_a_later_version_is_kept(client, decoder):
    decoder.failure = LaterReason("not yet awake")
    with pytest.raises(RemoteError) as caught:
        client.ask("?")
    error = caught.value
    assert type(error) is RemoteError
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TIER_ASLEEP")


def test_details_that_cannot_be_read_leave_code_and_text(client, decoder):
    decoder.garbles = True
    with pytest.raises(errors.MessageTooLarge) as caught:
        client.ask("?")
    assert (caught.value.message, caught.value.metadata) == ("garbled", {})


def test_an_unreachable_service_is_reported_with_its_address(kind):
    with decoder_client(kind, "127.0.0.1:1", timeout_s=60) as client:
        with pytest.raises(errors.Unreachable) as caught:
            client.info()
        assert caught.value.metadata == {"address": "127.0.0.1:1"}
        with pytest.raises(errors.Unreachable):
            client.ask("?")


def test_unavailable_errors_keep_their_details(client, decoder):
    decoder.unready = 99
    with pytest.raises(errors.NotReady) as caught:
        client.ask("?")
    assert caught.value.message == "the model is still loading"


def test_a_deadline_ends_a_call_that_does_not_end(kind, decoder):
    decoder.hang = True
    with served(decoder) as address, decoder_client(kind, address, timeout_s=0.5) as client:
        with pytest.raises(errors.DeadlineExceeded):
            client.ask("?")
        assert decoder.ended.wait(20)


def test_an_answer_above_the_limit_that_clients_have_by_default_is_refused(client, decoder):
    decoder.answer = "x" * (5 << 20)
    with pytest.raises(errors.MessageTooLarge):
        client.ask("?")


def test_the_token_is_sent_as_a_bearer_token(kind, decoder):
    with served(decoder) as address:
        with decoder_client(kind, address, "secret") as client:
            client.put(b"x")
            assert decoder.metadata["authorization"] == "Bearer secret"
        with decoder_client(kind, address) as client:
            client.put(b"x")
            assert "authorization" not in decoder.metadata


class ImageCorrupt(InvalidArgument):
    reason = "IMAGE_CORRUPT"


def corrupt(field: str) -> ImageCorrupt:
    return ImageCorrupt("the PNG image cannot be decoded", violations=[Violation(field, "damaged")])


def test_a_failing_image_is_named_by_its_file(client, decoder, picture, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(b"another one")
    decoder.failure = corrupt("messages[0].parts[1].image")
    for images in ([picture, other], [picture, Image(b"another one", "other.png")]):
        with pytest.raises(errors.ImageCorrupt, match=r"other\.png: the PNG") as caught:
            client.ask("?", images)
        assert caught.value.image.endswith("other.png")
        assert caught.value.message == str(caught.value)
    with pytest.raises(errors.ImageCorrupt, match=r"^messages\[0\]\.parts\[1\]\.image: the PNG"):
        client.ask("?", [picture, other.read_bytes()])
    decoder.failure = corrupt("messages[0].parts[7].image")
    with pytest.raises(errors.ImageCorrupt, match=r"^the PNG"):
        client.ask("?", [picture, other])


def test_a_refused_upload_is_named_by_its_file(client, decoder, picture, tmp_path):
    other = tmp_path / "other.png"
    other.write_bytes(b"another one")
    client.put(picture)
    decoder.refuses = corrupt("data")
    for call in (lambda: client.put(other), lambda: client.ask("?", [picture, other])):
        with pytest.raises(errors.ImageCorrupt, match=r"other\.png: the PNG"):
            call()
    decoder.refuses = EngineBusy("full")
    with pytest.raises(errors.EngineBusy, match=r"^full$"):
        client.put(other)


def test_an_unknown_id_error_advises_to_send_the_file(client):
    with pytest.raises(errors.ImageNotStored, match="give the file itself"):
        client.ask("?", "sha256:" + "0" * 64)


@pytest.mark.parametrize("address", ["", " ", "http://127.0.0.1:50052", "127.0.0.1", "a b:1", "host:1\n"])
def test_an_address_without_host_and_port_is_refused_at_once(kind, address):
    with pytest.raises(InvalidArgument, match="HOST:PORT"), decoder_client(kind, address):
        pass


@pytest.mark.parametrize("token", ["a\nb", "é"])
def test_a_token_that_no_header_can_carry_is_refused_at_once(kind, token):
    with pytest.raises(InvalidArgument, match="printable ASCII"), decoder_client(kind, "127.0.0.1:1", token):
        pass


def test_another_service_at_the_address_is_reported(kind, encoder):
    told = pytest.raises(errors.NotServed, match="encoder and decoder have different addresses")
    with served(encoder) as address, decoder_client(kind, address) as client, told:
        client.ask("?")
