"""The process as its handlers see it: settings, the decoders, what a decoder reports about itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self

from starlette.requests import Request

from fovea.client import AsyncClient, ServerInfo
from fovea.contract.errors import Unreachable
from gateway_svc.fetch import Fetcher, FetchLimits
from gateway_svc.hosts import HostList
from gateway_svc.readiness import Readiness
from gateway_svc.settings import GatewaySettings

INFO_S = 10.0
"""How long a description of the decoder is reused."""


@dataclass
class Gateway:
    """Lives in a single event loop. `fetcher` is None while no host of images is allowed."""

    config: GatewaySettings
    decoder: AsyncClient
    readiness: Readiness
    fetcher: Fetcher | None = None
    draining: bool = False
    _info: ServerInfo | None = None
    _info_until: float = 0.0

    @classmethod
    @asynccontextmanager
    async def open(cls, config: GatewaySettings) -> AsyncIterator[Self]:
        """Connects on the first call. Raises CredentialsInvalid for files that cannot be used."""
        credentials = config.decoder_credentials()
        async with AsyncExitStack() as opened:
            client = AsyncClient(config.decoder, timeout_s=config.timeout_s, tls=credentials)
            decoder = await opened.enter_async_context(client)
            fetcher = _fetcher(config)
            if fetcher is not None:
                opened.push_async_callback(fetcher.close)
            yield cls(config, decoder, Readiness(decoder), fetcher)

    def calling(self, request: Request) -> AsyncClient:
        """The decoders, called on behalf of a request: with its token, its id and its deadline."""
        caller = request.state.caller
        return self.decoder.calling(caller.timeout_s, caller.metadata)

    async def info(self, request: Request) -> ServerInfo:
        """The decoder's description, at most INFO_S old, or older while the decoder cannot be reached."""
        if self._info is None or time.monotonic() >= self._info_until:
            try:
                self._info = await self.calling(request).info()
            except Unreachable:
                if self._info is None:
                    raise
                return self._info
            self._info_until = time.monotonic() + INFO_S
        return self._info


def _fetcher(config: GatewaySettings) -> Fetcher | None:
    hosts = HostList.parse(config.image_hosts)
    limits = FetchLimits(config.max_fetch_bytes, config.max_fetch_s, config.max_fetch_redirects)
    return Fetcher(hosts, limits) if hosts.patterns else None


def of(request: Request) -> Gateway:
    """The gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
