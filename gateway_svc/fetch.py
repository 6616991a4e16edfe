"""Fetches images by URL from allowed hosts, within limits, never from private addresses.

A name is resolved once, every address of the answer is checked, and the connection goes to a checked address,
so that no second look-up can lead elsewhere. Each redirect is a URL of its own, with the same checks. Nothing
of the client's request is sent along.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx2

from gateway_svc.addresses import is_public
from gateway_svc.errors import UrlNotFetched, UrlRefused
from gateway_svc.hosts import HostList

PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)
URL_CHARACTERS = 4096
RESOLVERS = 4
_PLAIN = re.compile(r"[!-\[\]-~]+")
"""Printable ASCII without spaces and backslashes, which some readers of URLs take for slashes."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
Hold = Callable[[int], None]


@dataclass(frozen=True)
class FetchLimits:
    """What fetching an image may take."""

    max_bytes: int
    max_s: float
    max_redirects: int


class Resolver:
    """Looks names up in threads of its own: a slow server of names delays nothing else."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVERS, "resolver")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._look_up, host, port)

    @staticmethod
    def _look_up(host: str, port: int) -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(place[0]) for *_, place in found]


class Fetcher:
    """Fetches from the hosts of a list. Lives in a single event loop."""

    def __init__(
        self,
        hosts: HostList,
        limits: FetchLimits,
        resolve: Resolve | None = None,
        allowed: Callable[[str], bool] = is_public,
    ) -> None:
        self._hosts = hosts
        self._limits = limits
        self._resolve = resolve or Resolver()
        self._allowed = allowed
        # The bare transport: no cookies, no redirects, no proxies of the environment.
        self._transport = httpx2.AsyncHTTPTransport(
            trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        )

    async def close(self) -> None:
        await self._transport.aclose()

    async def fetch(self, url: str, field: str, hold: Hold) -> bytes:
        """The bytes at the URL, counted by `hold`. Raises UrlRefused or UrlNotFetched, which name `field`."""
        try:
            async with asyncio.timeout(self._limits.max_s):
                return await self._follow(url, field, hold)
        except TimeoutError:
            raise UrlNotFetched(field, f"was not fetched within {self._limits.max_s:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise UrlNotFetched(field, f"cannot be fetched: {type(error).__name__}") from None

    async def _follow(self, url: str, field: str, hold: Hold) -> bytes:
        for _ in range(self._limits.max_redirects + 1):
            response = await self._get(url, field)
            try:
                if response.status_code not in REDIRECTS:
                    return await self._read(response, field, hold)
            finally:
                await response.aclose()
            url = _redirected(url, response.headers.get("location", ""), field)
        raise UrlNotFetched(field, f"redirects more than {self._limits.max_redirects} times")

    async def _get(self, url: str, field: str) -> httpx2.Response:
        parts = checked(url, field, self._hosts)
        port = parts.port or PORTS[parts.scheme]
        address = await self._address(str(parts.hostname), port, field)
        request = httpx2.Request(
            "GET",
            httpx2.URL(url).copy_with(host=address, port=port, fragment=None),
            headers={
                "host": parts.netloc,
                "accept": "image/*",
                "accept-encoding": "identity",
                "user-agent": "fovea-gateway",
                "connection": "close",
            },
            extensions={
                "sni_hostname": str(parts.hostname),
                "timeout": httpx2.Timeout(self._limits.max_s).as_dict(),
            },
        )
        return await self._transport.handle_async_request(request)

    async def _address(self, host: str, port: int, field: str) -> str:
        """An address of the host, all of whose addresses are public."""
        try:
            addresses = await self._resolve(host, port)
        except OSError:
            raise UrlNotFetched(field, f"the host {host} has no address") from None
        if not addresses or not all(map(self._allowed, addresses)):
            raise UrlRefused(field, f"the host {host} has an address that is not on the public Internet")
        return addresses[0]

    async def _read(self, response: httpx2.Response, field: str, hold: Hold) -> bytes:
        if response.status_code != 200:
            raise UrlNotFetched(field, f"the host answers with status {response.status_code}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise UrlNotFetched(
                field, "the host sends compressed bytes, though it was asked for the file as it is"
            )
        data, limit = bytearray(), self._limits.max_bytes
        async for piece in response.aiter_raw():
            if len(data) + len(piece) > limit:
                raise UrlNotFetched(field, f"has more than {limit} bytes")
            hold(len(piece))
            data += piece
        return bytes(data)


def checked(url: str, field: str, hosts: HostList) -> SplitResult:
    """The parts of a URL that may be fetched. Raises UrlRefused."""
    if len(url) > URL_CHARACTERS or not _PLAIN.fullmatch(url):
        raise UrlRefused(field, f"is not a URL of at most {URL_CHARACTERS} printable ASCII characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UrlRefused(field, "is not a URL") from None
    if parts.scheme not in PORTS:
        raise UrlRefused(field, "is neither a data URI, nor an http(s) URL, nor the id of a file")
    if not host or "@" in parts.netloc:
        raise UrlRefused(field, "must have a host, and no user")
    if not hosts.allows(host, port or PORTS[parts.scheme], PORTS[parts.scheme]):
        raise UrlRefused(field, f"the host {parts.netloc} is not in the gateway's setting `image_hosts`")
    return parts


def _redirected(url: str, location: str, field: str) -> str:
    """Where a redirect leads; it is checked like the first URL. Raises UrlRefused for a step down to http."""
    if not location:
        raise UrlNotFetched(field, "redirects without a location")
    target = urljoin(url, location)
    if url.lower().startswith("https:") and not target.lower().startswith("https:"):
        raise UrlRefused(field, "redirects from https to another scheme")
    return target
