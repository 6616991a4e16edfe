"""A DNS name and its addresses: joins, leaves, failures; and what the setting accepts."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from decoder_svc.encoders.resolver import Resolver
from decoder_svc.settings import DecoderSettings
from fovea.dns import DnsName, lookup

NAME = DnsName("encoders.example", 50051)


class Zone:
    """The answers of a DNS server. None is a failed lookup."""

    def __init__(self, *answers: Sequence[str] | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        answer = self.answers.pop(0)
        if answer is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answer


async def looked(zone: Zone) -> list[Sequence[str]]:
    """The address lists that the listener gets until the zone's answers are used up."""
    heard: list[Sequence[str]] = []
    resolver = Resolver(NAME, 5.0, heard.append, zone)
    while zone.answers:
        await resolver.refresh()
    return heard


async def test_every_answer_is_reported() -> None:
    zone = Zone(["a"], ["a", "b"], ["b"])
    assert await looked(zone) == [["a"], ["a", "b"], ["b"]]
    assert zone.asked == [("encoders.example", 50051)] * 3


async def test_a_lasting_failure_is_logged_once() -> None:
    with capture_logs() as logs:
        heard = await looked(Zone(["a"], None, None, None, ["a", "b"], None, ["b"]))
    assert heard == [["a"], ["a", "b"], ["b"]]
    failed, again = "encoders not resolved", "encoders resolved again"
    assert [line["event"] for line in logs] == [failed, again, failed, again]
    assert {line["name"] for line in logs} == {"dns:///encoders.example:50051"}


async def test_the_resolver_keeps_polling_after_failures() -> None:
    done = asyncio.Event()
    zone = Zone(None, ["a"], None, ["b"], ["c"])

    def hear(addresses: Sequence[str]) -> None:
        if addresses == ["c"]:
            done.set()

    task = asyncio.create_task(Resolver(NAME, 0.001, hear, zone).run())
    await asyncio.wait_for(done.wait(), 60)
    task.cancel()


async def test_localhost_by_the_real_resolver() -> None:
    assert await lookup("localhost", 50051) == ["127.0.0.1:50051"]


async def test_a_slow_lookup_blocks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop runs while the system's resolver hangs."""
    go = threading.Event()

    def hanging(*args, **kwargs):
        assert go.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 50051))]

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    task = asyncio.create_task(lookup("encoders.example", 50051))
    for _ in range(10):
        await asyncio.sleep(0.001)
    assert not task.done()
    go.set()
    assert await task == ["10.0.0.1:50051"]


@pytest.mark.parametrize(
    ("resolved", "expected"),
    [
        (["10.0.0.2", "10.0.0.1", "10.0.0.2"], ["10.0.0.1:50051", "10.0.0.2:50051"]),
        (["fd00::2", "10.0.0.1", "fd00::1"], ["10.0.0.1:50051"]),
        (["fd00::2", "fd00::1"], ["[fd00::1]:50051", "[fd00::2]:50051"]),
    ],
)
async def test_an_encoder_with_two_addresses_counts_once(
    monkeypatch: pytest.MonkeyPatch, resolved: list[str], expected: list[str]
) -> None:
    """A host with an IPv4 and an IPv6 address is a single encoder."""

    def answer(host, port, *args):
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port))
            for ip in resolved
        ]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert await lookup("encoders.example", 50051) == expected


def chosen(encoders: str) -> DecoderSettings:
    return DecoderSettings(model="m", encoders=encoders)


def test_a_dns_name_is_resolved_and_a_plain_name_is_an_address() -> None:
    by_name = chosen("dns:///encoders.example.:50051")
    assert (by_name.encoder_name, by_name.encoder_addresses) == (DnsName("encoders.example.", 50051), [])
    listed = chosen(" encoder-a:50051, 10.0.0.2:50051 ")
    assert (listed.encoder_name, listed.encoder_addresses) == (None, ["encoder-a:50051", "10.0.0.2:50051"])


@pytest.mark.parametrize(
    "encoders",
    [
        "", " , ", "a:1,", "a:1,,b:1", "dns:///a:1,dns:///b:1", "dns:///a:1,10.0.0.1:1", "dns:///a", "dns:///a:0", "dns:///a:65536",
        "dns:///:50051", "dns:a:50051", "dns://8.8.8.8/a:50051", "dns:///a..b:50051", "dns:///a b:50051",
    ],
)  # fmt: skip
def test_invalid_encoder_lists_are_refused_at_start(encoders: str) -> None:
    with pytest.raises(ValueError, match=r"names no server|stands alone|not of the form|empty entry"):
        chosen(encoders)
