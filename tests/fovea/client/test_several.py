"""Clients of several decoders: the choice of one, and what becomes of a call if it fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from fovea.client import Client, errors, pool
from fovea.client.channel import ATTEMPTS
from fovea.client.connection import _Settings
from fovea.contract.rows import digest
from fovea.rendezvous import owner, ranked
from tests.fovea.client.driven import KINDS, decoder_client
from tests.fovea.client.fakes import FakeDecoder, served
from tests.fovea.client.test_failures import EngineBusy

IMAGES = [b"image %d" % number for number in range(12)]


class Fleet:
    """Running decoders by address, each of which holds every image and answers with its address."""

    def __init__(self, stack: ExitStack, count: int) -> None:
        self.decoders: dict[str, FakeDecoder] = {}
        for _ in range(count):
            decoder = FakeDecoder()
            address = stack.enter_context(served(decoder))
            decoder.answer = address
            decoder.stored = {digest(image): image for image in IMAGES}
            self.decoders[address] = decoder

    @property
    def target(self) -> str:
        return ", ".join(self.decoders)

    def ranked(self, image: bytes) -> list[str]:
        return ranked(digest(image), self.decoders)

    def asked(self) -> dict[str, int]:
        return {address: len(decoder.requests) for address, decoder in self.decoders.items()}


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setattr(pool, "REST_S", 3600.0)
    with ExitStack() as stack:
        yield Fleet(stack, 3)


@pytest.fixture
def client(kind: str, fleet: Fleet) -> Iterator[Any]:
    with decoder_client(kind, fleet.target, "secret", timeout_s=30) as client:
        yield client


def test_questions_about_an_image_go_to_its_decoder(client, fleet):
    for image in IMAGES:
        expected = fleet.ranked(image)[0]
        for source in (image, digest(image)):
            assert client.ask("?", [source]).text == expected
        client.count("?", [image])
        assert fleet.decoders[expected].calls[-1] == "CountTokens"
    assert all(fleet.asked().values()), "the images are spread"


def test_a_new_image_is_stored_with_the_decoder_that_is_asked(client, fleet):
    image = b"x" * 100_000
    client.ask("?", [image])
    called = [decoder.calls for decoder in fleet.decoders.values() if decoder.calls]
    assert called == [["DescribeImage", "PutImage", "Generate"]]


def test_turns_of_a_conversation_go_to_one_decoder(client, fleet):
    texts = [f"What is {number}?" for number in range(12)]
    for text in texts:
        assert client.ask(text).text == owner(text, fleet.decoders)


def test_a_decoder_that_is_not_ready_is_passed_over_at_once_and_then_rests(client, fleet):
    first, second, _ = fleet.ranked(IMAGES[0])
    fleet.decoders[first].unready, fleet.decoders[first].pushback_s = 99, 3600.0
    for _ in range(3):
        assert client.ask("?", [digest(IMAGES[0])]).text == second
    assert fleet.decoders[first].calls == ["Generate"]


def test_a_call_that_a_draining_decoder_drops_goes_to_the_next(client, fleet):
    first, second, _ = fleet.ranked(IMAGES[0])
    fleet.decoders[first].drops = 1
    assert client.ask("?", [digest(IMAGES[0])]).text == second


def test_an_upload_that_fails_is_sent_whole_to_the_next(client, fleet):
    image = b"y" * (3 << 20)
    first, second, _ = fleet.ranked(image)
    fleet.decoders[first].unready = 99
    heard = []
    client.put(image, lambda sent, total: heard.append(sent))
    assert fleet.decoders[second].stored[digest(image)] == image
    assert heard[-1] == len(image)


def test_a_dead_decoder_is_passed_over(kind, monkeypatch):
    monkeypatch.setattr(pool, "REST_S", 3600.0)
    with ExitStack() as stack, ExitStack() as dying:
        fleet = Fleet(stack, 2)
        fleet.decoders |= Fleet(dying, 1).decoders
        (*_, dead) = fleet.decoders
        with decoder_client(kind, fleet.target, timeout_s=30) as client:
            assert {client.ask("?", [image]).text for image in IMAGES} <= set(fleet.decoders)
            dying.close()
            for image in IMAGES:
                assert client.ask("?", [image]).text == next(a for a in fleet.ranked(image) if a != dead)


@pytest.mark.parametrize("listens", [True, False])
def test_an_answer_that_has_begun_is_not_computed_again(client, fleet, listens):
    first, *_ = fleet.ranked(IMAGES[0])
    fleet.decoders[first].answer, fleet.decoders[first].loses = "forty two", True
    heard = []
    with pytest.raises(errors.Unreachable):
        client.ask("?", [IMAGES[0]], **({"on_text": heard.append} if listens else {}))
    assert heard == (["forty", " two"] if listens else [])
    assert sum(fleet.asked().values()) == 1


def test_an_answer_that_is_lost_before_its_first_token_is_asked_for_again_once(client, fleet):
    first, second, third = fleet.ranked(IMAGES[0])
    fleet.decoders[first].answer, fleet.decoders[first].loses = "", True
    assert client.ask("?", [IMAGES[0]]).text == second
    for address in (second, third):
        fleet.decoders[address].answer, fleet.decoders[address].loses = "", True
    with pytest.raises(errors.Unreachable):
        client.ask("?", [IMAGES[0]])
    assert fleet.asked() == {first: 1, second: 2, third: 1}


@pytest.mark.parametrize("kind", KINDS)
def test_both_attempts_have_the_time_of_one_call(kind, fleet, monkeypatch):
    first, *_ = fleet.ranked(IMAGES[0])
    fleet.decoders[first].answer, fleet.decoders[first].loses = "", True
    since = _Settings._since
    monkeypatch.setattr(_Settings, "_since", lambda self, begun: since(self, begun - 3600))
    with (
        decoder_client(kind, fleet.target, timeout_s=600) as client,
        pytest.raises(errors.DeadlineExceeded),
    ):
        client.ask("?", [IMAGES[0]])
    assert sum(fleet.asked().values()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_look_up_that_hangs_costs_no_more_than_the_deadline(kind, monkeypatch):
    answer = threading.Event()
    monkeypatch.setattr(pool, "look_up", lambda host, port: answer.wait(60))
    with (
        decoder_client(kind, "dns:///decoders.example:50052", timeout_s=0.2) as client,
        pytest.raises(errors.DeadlineExceeded),
    ):
        client.info()
    answer.set()


def test_a_client_that_is_closed_during_a_call_has_cancelled_it(fleet):
    for decoder in fleet.decoders.values():
        decoder.hang = True
    client = Client(fleet.target, timeout_s=60)
    events = client.stream("?")
    next(events)
    client.close()
    with pytest.raises(errors.Aborted):
        next(events)


def test_a_busy_decoder_refuses_for_all(client, fleet):
    """Its client may retry later; asking the others would spread an overload."""
    first, *_ = fleet.ranked(IMAGES[0])
    fleet.decoders[first].failure = EngineBusy("full", retry_after_s=0.01)
    with pytest.raises(errors.EngineBusy):
        client.ask("?", [IMAGES[0]])
    assert sum(fleet.asked().values()) == 1


def test_if_none_is_ready_each_is_tried_a_bounded_number_of_times(client, fleet):
    for decoder in fleet.decoders.values():
        decoder.unready = 99
    with pytest.raises(errors.NotReady):
        client.ask("?")
    assert fleet.asked() == dict.fromkeys(fleet.decoders, ATTEMPTS)


def test_if_none_is_ready_in_time_the_deadline_has_passed(kind, fleet):
    for decoder in fleet.decoders.values():
        decoder.unready, decoder.pushback_s = 99, 3600.0
    with decoder_client(kind, fleet.target, timeout_s=2) as client:
        with pytest.raises(errors.DeadlineExceeded):
            client.ask("?")
        assert fleet.asked() == dict.fromkeys(fleet.decoders, 1)


def test_a_hot_image_is_bounded_at_its_decoder(fleet, monkeypatch):
    """Its decoder finishes none of its answers; the call above the bound goes to the next."""
    monkeypatch.setattr("fovea.rendezvous.FREE_CALLS", 2)
    first, second, _ = fleet.ranked(IMAGES[0])
    fleet.decoders[first].hang = True
    with decoder_client("blocking", fleet.target, timeout_s=30) as client, ExitStack() as open_streams:
        for _ in range(2):
            events = client.stream("?", [digest(IMAGES[0])])
            open_streams.callback(events.close)
            next(events)
        assert client.ask("?", [digest(IMAGES[0])]).text == second


def test_the_error_names_all_addresses(kind):
    with decoder_client(kind, "127.0.0.1:1,127.0.0.1:2", timeout_s=60) as client:
        with pytest.raises(errors.Unreachable) as failed:
            client.info()
        assert failed.value.metadata == {"address": "127.0.0.1:1,127.0.0.1:2"}


def test_the_error_of_a_server_that_answers_is_raised_before_that_of_a_dead_one(kind):
    """Whichever comes last in rank order."""
    with ExitStack() as stack:
        fleet = Fleet(stack, 1)
        (decoder,) = fleet.decoders.values()
        decoder.unready = 99
        with decoder_client(kind, f"{fleet.target},127.0.0.1:1", timeout_s=60) as client:
            for image in IMAGES[:4]:
                with pytest.raises(errors.NotReady):
                    client.ask("?", [digest(image)])


def test_all_addresses_of_a_name_are_decoders(kind, fleet, monkeypatch):
    def look_up(host: str, port: int) -> Sequence[str]:
        assert (host, port) == ("decoders.example", 50052)
        return list(fleet.decoders)

    monkeypatch.setattr(pool, "look_up", look_up)
    with decoder_client(kind, "dns:///decoders.example:50052", timeout_s=30) as client:
        for image in IMAGES:
            assert client.ask("?", [digest(image)]).text == fleet.ranked(image)[0]


@pytest.mark.parametrize("address", ["a:1,", "a:1,b", "a:1,dns:///b:1", "dns:///a", "a:1,http://b:1"])
def test_what_names_no_servers_is_refused(kind, address):
    with pytest.raises(errors.InvalidArgument) as failed, decoder_client(kind, address):
        pass
    assert failed.value.metadata == {"address": address}


def test_a_token_is_sent_to_a_list_only_if_all_are_here_or_with_tls(kind):
    for address in ("127.0.0.1:1,decoder.example:1", "dns:///decoder.example:1"):
        with (
            pytest.raises(errors.InvalidArgument, match="without TLS"),
            decoder_client(kind, address, "secret"),
        ):
            pass
