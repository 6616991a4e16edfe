"""Retries: only calls without any response, in full, a limited number of times, and with the server's
pushback.
"""

from __future__ import annotations

import pytest

from fovea.client.channel import ATTEMPTS, OPTIONS
from fovea.contract.errors import DeadlineExceeded, EngineBusy, NotReady
from fovea.contract.rows import digest
from fovea.server.connections import ConnectionLimits
from fovea.server.process import _options
from tests.fovea.client.driven import decoder_client
from tests.fovea.client.fakes import served
from tests.fovea.client.test_failures import EngineBusy as BusyOnTheServer

LARGE = bytes(range(256)) * 4096 * 5  # 5 MiB, twenty times what gRPC keeps by default to send again
LONG = "How many? " * (512 * 1024)


def test_a_question_of_5_mib_is_sent_again_whole(client, decoder):
    decoder.unready = 1
    assert client.ask(LONG).text == "forty two"
    assert decoder.calls == ["Generate", "Generate"]
    assert [request.messages[0].parts[0].text == LONG for request in decoder.requests] == [True, True]


def test_an_upload_of_5_mib_is_sent_again_whole(client, decoder):
    decoder.unready = 1
    heard = []
    assert not client.put(LARGE, lambda sent, total: heard.append(sent)).already
    assert decoder.calls == ["DescribeImage", "PutImage", "PutImage"]
    assert decoder.stored == {digest(LARGE): LARGE}
    assert heard[-1] == len(LARGE)


def test_a_call_is_tried_a_bounded_number_of_times(client, decoder):
    decoder.unready = 99
    with pytest.raises(NotReady):
        client.ask("?")
    assert decoder.calls == ["Generate"] * ATTEMPTS


def test_a_call_that_a_draining_server_drops_is_tried_again(client, decoder):
    decoder.drops = 2
    assert client.ask("?").text == "forty two"
    assert decoder.calls == ["Generate"] * 3


def test_pushback_is_honoured(kind, decoder):
    """Pushback of a minute, deadline of two seconds: a single attempt, where gRPC's own backoff would make
    more.
    """
    decoder.unready, decoder.pushback_s = 99, 60.0
    with served(decoder) as address, decoder_client(kind, address, timeout_s=2) as client:
        with pytest.raises(DeadlineExceeded):
            client.ask("?")
        assert decoder.calls == ["Generate"]


def test_a_started_answer_is_not_retried(client, decoder):
    decoder.breaks = True
    heard = []
    with pytest.raises(NotReady):
        client.ask("?", on_text=heard.append)
    assert heard == ["forty", " two"]
    assert decoder.calls == ["Generate"]


def test_busy_errors_are_not_retried_by_the_client(client, decoder):
    """The error carries the retry delay; the caller decides."""
    decoder.failure = BusyOnTheServer("full", retry_after_s=0.01)
    with pytest.raises(EngineBusy) as caught:
        client.ask("?")
    assert caught.value.retry_after_s == 0.01
    assert decoder.calls == ["Generate"]


def test_clients_ping_no_more_often_than_servers_allow():
    ours, theirs = dict(OPTIONS), dict(_options(1, ConnectionLimits()))
    assert ours["grpc.keepalive_time_ms"] > theirs["grpc.http2.min_ping_interval_without_data_ms"]
    assert ours["grpc.keepalive_permit_without_calls"] == theirs["grpc.keepalive_permit_without_calls"] == 1
