"""Fields are counted as the parser would meet them, in submessages too; malformed data is the parser's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.contract.errors import InvalidArgument, MessageTooLarge, ServerBusy, TenantBusy
from fovea.decoder.v1 import decoder_pb2 as pb
from fovea.server.guards import PUBLIC_BYTES, BytesInFlight, TenantQuota, check_field_count, refuse_large
from fovea.server.identity import TRUSTED, Identity, Role, set_identity


@pytest.fixture(autouse=True)
def _trusted() -> Iterator[None]:
    yield
    set_identity(TRUSTED)


def request(parts: int) -> bytes:
    """`parts` parts of a single field each: two fields a part, three around them."""
    message = pb.Message(role=pb.ROLE_USER, parts=[pb.Part(text="a") for _ in range(parts)])
    return pb.GenerateRequest(messages=[message], request_id="i").SerializeToString()


@pytest.mark.parametrize("parts", [0, 1, 50])
def test_fields_of_submessages_count(parts: int) -> None:
    fields = 3 + 2 * parts
    check_field_count(request(parts), pb.GenerateRequest, fields)
    if parts == 50:
        with pytest.raises(InvalidArgument):
            check_field_count(request(parts), pb.GenerateRequest, fields - 1)


def test_the_bytes_of_an_image_are_one_field() -> None:
    part = pb.Part(image=pb.Image(data=b"\x0a\x00" * 100_000))
    data = pb.GenerateRequest(messages=[pb.Message(parts=[part])]).SerializeToString()
    check_field_count(data, pb.GenerateRequest, 10)


@pytest.mark.parametrize("data", [b"\x80" * 4_000_000, b"\xff" * 4_000_000, b"\x0a\xff" * 2_000_000])
def test_an_endless_varint_costs_nothing(data: bytes) -> None:
    """Read byte by byte into an integer, it would take minutes."""
    with suppress(InvalidArgument):
        check_field_count(data, pb.GenerateRequest, 10)


@given(st.binary(max_size=400))
def test_any_bytes_end_the_count(data: bytes) -> None:
    with suppress(InvalidArgument):
        check_field_count(data, pb.GenerateRequest, 10)


def test_bytes_are_released_when_a_call_ends() -> None:
    in_flight = BytesInFlight(10)
    with in_flight.held() as hold:
        hold(6)
        with in_flight.held() as other:
            other(4)
            with pytest.raises(ServerBusy):
                other(1)
        assert in_flight.used == 6
    assert in_flight.used == 0


def test_a_tenant_holds_at_most_its_share() -> None:
    in_flight = BytesInFlight(10, share=0.5)
    with in_flight.held() as hold:
        set_identity(Identity("acme", Role.USER))
        hold(5)
        with pytest.raises(ServerBusy):
            hold(1)
        set_identity(Identity("other", Role.USER))
        hold(5)
    assert in_flight.used == 0


def test_calls_without_a_token_send_small_messages() -> None:
    refuse_large(PUBLIC_BYTES)
    with pytest.raises(MessageTooLarge):
        refuse_large(PUBLIC_BYTES + 1)


def test_a_tenant_holds_its_quota_and_is_refused_one_past_it() -> None:
    quota = TenantQuota("max_tenant_images", 3)
    with quota.held("a", 2), quota.held("a", 1):
        with pytest.raises(TenantBusy) as refused, quota.held("a"):
            pytest.fail("the quota is exceeded")
        assert refused.value.metadata == {"field": "max_tenant_images", "limit": "3", "actual": "4"}
        assert refused.value.retry_after_s
        with quota.held("b", 3), quota.held("a", 0):  # another tenant, and a call that holds nothing
            pass
    with quota.held("a", 3):
        pass


def test_a_call_that_alone_exceeds_the_quota_is_not_told_to_retry() -> None:
    with pytest.raises(TenantBusy) as refused, TenantQuota("max_tenant_images", 3).held("a", 4):
        pytest.fail("the quota is exceeded")
    assert refused.value.retry_after_s is None


def test_a_quota_of_zero_is_no_limit() -> None:
    quota = TenantQuota("max_tenant_requests", 0)
    with quota.held("a", 1000), quota.held("a", 1000):
        pass
