"""Images by URL: only allowed hosts, only public addresses. A real server on loopback counts what reaches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from fovea.contract.errors import FoveaError
from gateway_svc.addresses import is_public
from gateway_svc.errors import UrlNotFetched, UrlRefused
from gateway_svc.fetch import Fetcher, FetchLimits
from gateway_svc.hosts import HostList

BODY = b"the bytes of an image"
LIMITS = FetchLimits(max_bytes=1000, max_s=5.0, max_redirects=3)


class Target:
    """An HTTP server on loopback: what it was asked for, and what it answers by path."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.answers: dict[str, bytes] = {}
        self.port = 0
        self.release = asyncio.Event()

    def answer(self, path: str, body: bytes = BODY, status: str = "200 OK", **headers: str) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"HTTP/1.1 {status}", f"content-length: {len(body)}", *lines, "", ""])
        self.answers[path] = head.encode() + body

    def redirect(self, path: str, location: str) -> None:
        self.answer(path, b"", "302 Found", location=location)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path = head.split(" ")[1]
        self.asked.append(path)
        self.heads.append(head)
        if path == "/slow":
            await self.release.wait()
        writer.write(self.answers.get(path, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"))
        writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def target() -> AsyncIterator[Target]:
    target = Target()
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    target.port = server.sockets[0].getsockname()[1]
    try:
        yield target
    finally:
        target.release.set()
        server.close()


def addresses(*found: str) -> object:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return found

    return resolve


@asynccontextmanager
async def fetching(
    hosts: str, *found: str, limits: FetchLimits = LIMITS, trusting: bool = False
) -> AsyncIterator[Fetcher]:
    """A fetcher whose names have these addresses. `trusting` takes every address for a public one."""
    checks = {"allowed": lambda address: True} if trusting else {}
    fetcher = Fetcher(HostList.parse(hosts), limits, addresses(*found), **checks)  # type: ignore[arg-type]
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def fetched(fetcher: Fetcher, url: str) -> bytes:
    return await fetcher.fetch(url, "messages[0].content[0].image_url", lambda size: None)


async def refused(fetcher: Fetcher, url: str) -> FoveaError:
    with pytest.raises((UrlRefused, UrlNotFetched)) as error:
        await fetched(fetcher, url)
    assert error.value.violations[0].field == "messages[0].content[0].image_url"
    return error.value


async def test_an_image_of_an_allowed_host_is_fetched(target: Target) -> None:
    """Guards the tests below: the server can be reached, and nothing of the caller is sent."""
    target.answer("/a.png?size=2")
    async with fetching(f"images.example.com:{target.port}", "127.0.0.1", trusting=True) as fetcher:
        assert await fetched(fetcher, f"http://images.example.com:{target.port}/a.png?size=2") == BODY
    assert target.asked == ["/a.png?size=2"]
    head = target.heads[0].lower()
    assert f"host: images.example.com:{target.port}" in head
    assert "cookie" not in head
    assert "authorization" not in head


async def test_redirects_within_the_list_are_followed_to_a_limit(target: Target) -> None:
    target.answer("/a.png")
    here = f"http://images.example.com:{target.port}"
    for at in range(3):
        target.redirect(f"/{at}", f"/{at + 1}" if at < 2 else "/a.png")
    target.redirect("/round", f"{here}/round")
    async with fetching(f"images.example.com:{target.port}", "127.0.0.1", trusting=True) as fetcher:
        assert await fetched(fetcher, f"{here}/0") == BODY
        target.asked.clear()
        assert "redirects more than 3 times" in str(await refused(fetcher, f"{here}/round"))
    assert len(target.asked) == 4


LOOPBACK_NAMES = [
    "127.0.0.1", "127.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1",
    "::1", "::", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::7f00:1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1",
    "fec0::1", "ff02::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", [each for each in LOOPBACK_NAMES if each != "127.1"])
def test_addresses_that_are_not_on_the_public_internet(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450::1"]
)
def test_addresses_that_are_on_the_public_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", [each for each in LOOPBACK_NAMES if each != "127.1"])
async def test_a_name_of_a_private_address_is_not_fetched(target: Target, address: str) -> None:
    async with fetching(f"images.example.com:{target.port}", address) as fetcher:
        error = await refused(fetcher, f"http://images.example.com:{target.port}/a.png")
    assert "not on the public Internet" in str(error)
    assert target.asked == []


async def test_a_name_with_a_private_address_among_others_is_not_fetched(target: Target) -> None:
    async with fetching(f"images.example.com:{target.port}", "8.8.8.8", "127.0.0.1") as fetcher:
        await refused(fetcher, f"http://images.example.com:{target.port}/a.png")
    assert target.asked == []


URLS = [
    "http://127.0.0.1:{port}/a", "http://localhost:{port}/a", "http://2130706433:{port}/a", "http://0x7f000001:{port}/a",
    "http://0177.0.0.1:{port}/a", "http://127.1:{port}/a", "http://[::1]:{port}/a", "http://[::ffff:127.0.0.1]:{port}/a",
    "http://images.example.com@127.0.0.1:{port}/a", "http://127.0.0.1:{port}@images.example.com/a",
    "http://user:secret@images.example.com:{port}/a", "http://images.example.com:{port}\\@127.0.0.1/a",
    "http://images.example.com:{port}#@127.0.0.1/a b", "http://images.example.com.evil.test:{port}/a",
    "http://evil.test:{port}/images.example.com", "http://example.org:{port}/a", "http://notexample.org:{port}/a",
    "http://images.example.com:{port}1/a", "http://images.example.com:22/a", "http://images.example.com:0/a",
    "file:///etc/passwd", "file://images.example.com/etc/passwd", "gopher://images.example.com:{port}/_GET", "ftp://images.example.com/a",
    "dict://127.0.0.1:{port}/", "jar:http://images.example.com/!", "javascript:alert(1)", "//images.example.com:{port}/a",
    "http:images.example.com:{port}/a", "http:///a", "http://", "https://", "images.example.com", "/etc/passwd",
    "http://images.example.com:{port}/a\r\nhost: 127.0.0.1", "http://ima\u0131ges.example.com:{port}/a", "http://127.0.0.1\u3002:{port}/",
    "http://images.example.com%00.evil.test:{port}/a", "http://%31%32%37.0.0.1:{port}/a", "http://[::1%25lo]:{port}/a", "http://[bad/a",
    "http://images.example.com:port/a", "http://" + "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
async def test_a_url_outside_of_the_list_is_not_fetched(target: Target, url: str) -> None:
    """Even if every name had the address of the server: names, schemes, ports and users are checked first."""
    hosts = f"images.example.com:{target.port},*.example.org:{target.port}"
    async with fetching(hosts, "127.0.0.1", trusting=True) as fetcher:
        await refused(fetcher, url.format(port=target.port))
    assert target.asked == []


REDIRECTS = [
    "http://127.0.0.1:{port}/b", "http://localhost:{port}/b", "http://[::1]:{port}/b", "http://2130706433:{port}/b", "//127.0.0.1:{port}/b",
    "http://evil.test:{port}/b", "file:///etc/passwd", "gopher://127.0.0.1:{port}/b", "http://images.example.com@127.0.0.1:{port}/b",
    "http://images.example.com:1/b", "https://images.example.com/b", "",
]  # fmt: skip


@pytest.mark.parametrize("location", REDIRECTS)
async def test_a_redirect_out_of_the_list_is_not_followed(target: Target, location: str) -> None:
    target.redirect("/a", location.format(port=target.port))
    async with fetching(f"images.example.com:{target.port}", "127.0.0.1", trusting=True) as fetcher:
        await refused(fetcher, f"http://images.example.com:{target.port}/a")
    assert target.asked == ["/a"]


async def test_a_redirect_to_a_name_that_has_moved_to_loopback_is_not_followed(target: Target) -> None:
    """Each step resolves and checks anew."""
    target.redirect("/a", "/b")
    target.answer("/b")
    found = iter((True, False))
    fetcher = Fetcher(
        HostList.parse(f"images.example.com:{target.port}"),
        LIMITS,
        addresses("127.0.0.1"),  # type: ignore[arg-type]
        allowed=lambda address: next(found),
    )
    await refused(fetcher, f"http://images.example.com:{target.port}/a")
    await fetcher.close()
    assert target.asked == ["/a"]


async def test_a_name_is_resolved_once_for_a_connection(target: Target) -> None:
    """A second look-up could lead elsewhere (DNS rebinding)."""
    target.answer("/a")
    looked_up = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        looked_up.append(host)
        return ("127.0.0.1",)

    hosts = HostList.parse(f"images.example.com:{target.port}")
    fetcher = Fetcher(hosts, LIMITS, resolve, allowed=lambda address: True)
    await fetched(fetcher, f"http://images.example.com:{target.port}/a")
    await fetcher.close()
    assert looked_up == ["images.example.com"]


async def test_a_file_that_is_too_large_is_not_read_to_its_end(target: Target) -> None:
    target.answer("/a", b"x" * 1001)
    async with fetching(f"images.example.com:{target.port}", "127.0.0.1", trusting=True) as fetcher:
        assert "more than 1000 bytes" in str(
            await refused(fetcher, f"http://images.example.com:{target.port}/a")
        )


async def test_a_host_that_does_not_answer_is_left(target: Target) -> None:
    limits = FetchLimits(max_bytes=1000, max_s=0.2, max_redirects=3)
    async with fetching(
        f"images.example.com:{target.port}", "127.0.0.1", limits=limits, trusting=True
    ) as fetcher:
        error = await refused(fetcher, f"http://images.example.com:{target.port}/slow")
    assert "not fetched within 0.2 s" in str(error)


@pytest.mark.parametrize(
    ("status", "headers"),
    [("404 Not Found", {}), ("206 Partial Content", {}), ("200 OK", {"content_encoding": "gzip"})],
)
async def test_answers_that_are_not_the_file_are_refused(
    target: Target, status: str, headers: dict[str, str]
) -> None:
    target.answer("/a", BODY, status, **headers)
    async with fetching(f"images.example.com:{target.port}", "127.0.0.1", trusting=True) as fetcher:
        await refused(fetcher, f"http://images.example.com:{target.port}/a")


async def test_a_host_that_refuses_connections_is_named_without_details() -> None:
    async with fetching("images.example.com:1", "127.0.0.1", trusting=True) as fetcher:
        error = await refused(fetcher, "http://images.example.com:1/a")
    assert "127.0.0.1" not in str(error)


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        ("a.test", "a.test", 443, True),
        ("a.test", "A.TEST.", 443, True),
        ("a.test", "b.a.test", 443, False),
        ("a.test", "a.test", 8443, False),
        ("a.test:8443", "a.test", 8443, True),
        ("a.test:8443", "a.test", 443, False),
        ("*.a.test", "b.a.test", 443, True),
        ("*.a.test", "a.test", 443, False),
        ("*.a.test", "xa.test", 443, False),
    ],
)
def test_entries_of_the_list(entry: str, host: str, port: int, allowed: bool) -> None:
    assert HostList.parse(entry).allows(host, port, 443) is allowed


@pytest.mark.parametrize(
    "entry", ["http://a.test", "a.test/b", "*", "a..*", "a.test:99999", "a b", "*.*.test"]
)
def test_an_entry_that_is_no_host_is_refused_at_start(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a host name"):
        HostList.parse(entry)
