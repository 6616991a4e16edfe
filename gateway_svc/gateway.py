"""The process as its handlers see it: settings, the decoder, what the decoder reports about itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from starlette.requests import Request

from fovea.client import AsyncClient, ServerInfo
from gateway_svc.fetch import Fetcher
from gateway_svc.settings import GatewaySettings

INFO_S = 10.0
"""How long a description of the decoder is reused."""


@dataclass
class Gateway:
    """Lives in a single event loop."""

    config: GatewaySettings
    decoder: AsyncClient
    fetcher: Fetcher | None = None
    """None while no host of images is allowed."""
    draining: bool = False
    _info: ServerInfo | None = None
    _info_until: float = 0.0
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def calling(self, request: Request) -> AsyncClient:
        """The decoder, called on behalf of a request: with its token, its id and its deadline."""
        caller = request.state.caller
        return self.decoder.calling(caller.timeout_s, caller.metadata)

    async def info(self, request: Request) -> ServerInfo:
        """The decoder's description, at most INFO_S old. Concurrent callers share a call."""
        async with self._asking:
            if self._info is None or time.monotonic() >= self._info_until:
                self._info = await self.calling(request).info()
                self._info_until = time.monotonic() + INFO_S
            return self._info


def of(request: Request) -> Gateway:
    """The gateway that serves a request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
