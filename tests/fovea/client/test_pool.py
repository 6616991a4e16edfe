"""Which of several servers gets the next attempt, and the addresses of a name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence

import pytest

from fovea.client import pool
from fovea.client.pool import Pool, Server
from fovea.contract.errors import EngineBusy, FoveaError, Unreachable
from fovea.rendezvous import FREE_CALLS, ranked
from fovea.target import Target

THREE = ("a:1", "b:1", "c:1")
KEY = "sha256:" + "7" * 64


@pytest.fixture(autouse=True)
def long_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than any test takes."""
    monkeypatch.setattr(pool, "REST_S", 3600.0)


def connect(address: str) -> Server:
    return Server(address, channel=None, stub=None)


def listed(*addresses: str) -> Pool:
    return Pool(Target(addresses), connect)


def fail(pool: Pool, server: Server, error: FoveaError) -> None:
    with pytest.raises(type(error)), pool.running(server):
        raise error


def test_the_owner_is_taken_and_then_the_next_in_rank() -> None:
    servers, tried = listed(*THREE), []
    for _ in THREE:
        tried.append(servers.take(KEY, tried))
    assert [server.address for server in tried] == ranked(KEY, THREE)
    assert servers.take(KEY, tried).address == tried[0].address, "all were tried: the owner again"


def test_a_server_that_was_unavailable_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    servers, order = listed(*THREE), ranked(KEY, THREE)
    fail(servers, servers.take(KEY), Unreachable("gone"))
    assert servers.take(KEY).address == order[1]
    monkeypatch.setattr(pool, "REST_S", 0.0)
    fail(servers, servers.take(KEY), Unreachable("gone"))
    assert servers.take(KEY).address == order[1], "its rest is over at once"


def test_a_refusal_lets_no_server_rest() -> None:
    servers = listed(*THREE)
    owner = servers.take(KEY)
    fail(servers, owner, EngineBusy("max_waiting", 1, 1, 1.0))
    assert servers.take(KEY) is owner


def test_if_all_rest_the_owner_is_taken() -> None:
    servers = listed(*THREE)
    for _ in THREE:
        fail(servers, servers.take(KEY), Unreachable("gone"))
    assert servers.take(KEY).address == ranked(KEY, THREE)[0]


def test_running_calls_bound_what_the_owner_gets() -> None:
    servers = listed(*THREE)
    taken = [servers.take(KEY) for _ in range(FREE_CALLS)]
    assert {server.address for server in taken} == {ranked(KEY, THREE)[0]}
    assert servers.take(KEY).address == ranked(KEY, THREE)[1]
    with servers.running(taken[0]):
        pass
    assert servers.take(KEY).address == ranked(KEY, THREE)[0], "a call has ended there"


class Zone:
    """A DNS server's answer, which a test may change. No address is a failed look-up."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: Sequence[str] = addresses
        self.looked_up = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        try:
            if not self.addresses:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return self.addresses
        finally:
            self.looked_up.set()


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Zone:
    """Names are looked up here, at every call."""
    zone = Zone(*THREE[:2])
    monkeypatch.setattr(pool, "LOOK_UP_EVERY_S", 0.0)
    monkeypatch.setattr(pool, "look_up", zone)
    return zone


def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came about")


def resolve(servers: Pool) -> None:
    servers.look_up().result(10)
    servers.check_known()


def test_who_waits_for_a_name_shares_its_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def slow(host: str, port: int) -> Sequence[str]:
        answer.wait(10)
        return THREE

    monkeypatch.setattr(pool, "look_up", slow)
    servers = Pool(Target.parse("dns:///decoders:1"), connect)
    first = servers.look_up()
    assert servers.look_up() is first
    answer.set()
    first.result(10)
    assert len(servers.servers()) == 3


def test_a_name_is_looked_up_again_and_its_servers_keep_their_channels(zone: Zone) -> None:
    servers = Pool(Target.parse("dns:///decoders:1"), connect)
    assert not servers.is_known
    resolve(servers)
    first = servers.take(KEY)
    zone.addresses = THREE
    until(lambda: len(servers.servers()) == 3)
    assert first in servers.servers()
    zone.addresses = [address for address in THREE if address != first.address]
    until(lambda: first not in servers.servers())
    assert first in servers.with_calls(), "its call goes on"
    zone.looked_up.clear()
    zone.addresses = ()
    servers.servers()
    assert zone.looked_up.wait(10)
    assert len(servers.servers()) == 2, "a failed look-up changes nothing"


def test_a_name_without_an_address_is_unreachable(zone: Zone) -> None:
    zone.addresses = ()
    servers = Pool(Target.parse("dns:///decoders:1"), connect)
    with pytest.raises(Unreachable, match="dns:///decoders:1"):
        resolve(servers)
