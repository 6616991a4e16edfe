"""Which server serves a key: the only one, or the node of a cluster that has the slot of the key.

The nodes of a cluster tell who serves which slots. They are asked at the start, every few seconds, and when a
node refuses a key that it does not serve; until then the key is a miss. Each node has a breaker of its own:
if one dies, the others go on serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import structlog
from valkey.asyncio import Connection, SSLConnection
from valkey.asyncio.connection import parse_url
from valkey.crc import VALKEY_CLUSTER_HASH_SLOTS, key_slot
from valkey.exceptions import ResponseError

from encoder_svc.shared.level import SharedLimits
from encoder_svc.shared.node import CacheNode, Command, Execute, NodeDown

T = TypeVar("T")
log = structlog.get_logger()
REFRESH_S = 5.0
MIN_REFRESH_S = 0.5
DEFAULT_PORT = 6379
_ELSEWHERE = ("MOVED ", "ASK ", "TRYAGAIN", "CLUSTERDOWN")
"""Refusals of a node that does not serve the key now."""


class Servers:
    """The servers that `urls` lead to. Several URLs name nodes of one cluster, of which any may be down."""

    def __init__(self, urls: Sequence[str], limits: SharedLimits) -> None:
        self._limits = limits
        self._connection = _connection(urls[0])
        self._seeds = [self._node(_connection(url)) for url in urls]
        self._nodes = {node.name: node for node in self._seeds}
        self._by_slot: list[CacheNode | None] = [self._seeds[0]] * VALKEY_CLUSTER_HASH_SLOTS
        self._is_cluster = len(urls) > 1
        self._stale = asyncio.Event()
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def nodes(self) -> list[CacheNode]:
        """The servers that serve keys."""
        return list(dict.fromkeys(node for node in self._by_slot if node is not None))

    async def start(self) -> None:
        """Returns once the servers have been asked, whether or not they answer."""
        await self._refresh()
        self._refreshing = asyncio.create_task(self._refresh_forever())

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        for node in self._nodes.values():
            await node.close()

    def serve(self, key: bytes) -> bool:
        """Whether a server of the key has answered so far."""
        node = self._by_slot[key_slot(key)]
        return node is not None and not node.breaker.open

    async def call(self, key: bytes, command: Command[T], limit_s: float) -> T:
        """Raises NodeDown and ResponseError."""
        return await self._told(self._server(key).call(command, limit_s))

    async def attempt(self, key: bytes, command: Command[T], limit_s: float) -> T:
        """Like `call`, but also of a server that has not answered before."""
        return await self._told(self._server(key).attempt(command, limit_s))

    def _server(self, key: bytes) -> CacheNode:
        node = self._by_slot[key_slot(key)]
        if node is None:
            raise NodeDown("no node has the slot of the key")
        return node

    async def _told(self, call: Coroutine[Any, Any, T]) -> T:
        """What the call returns. A refusal because another node has the key is a node that is down."""
        try:
            return await call
        except ResponseError as error:
            if not str(error).startswith(_ELSEWHERE):
                raise
            self._stale.set()
            raise NodeDown("the node does not serve the key") from error

    async def _refresh_forever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(REFRESH_S if self._is_cluster else None):
                    await self._stale.wait()
            except TimeoutError:
                pass
            await self._refresh()
            self._stale.clear()
            await asyncio.sleep(MIN_REFRESH_S)

    async def _refresh(self) -> None:
        """Ask a node which nodes serve which slots. Nothing changes if none answers."""
        for node in self._nodes_to_ask():
            try:
                slots = await node.call(_cluster_slots, self._limits.read_s)
            except NodeDown:
                continue
            except ResponseError:  # not a cluster
                if len(self._seeds) > 1:
                    log.warning("shared_cache_no_cluster", server=node.name, unused=len(self._seeds) - 1)
                self._is_cluster = False
                self._by_slot = [node] * VALKEY_CLUSTER_HASH_SLOTS
                return
            self._is_cluster = True
            try:
                self._assign(slots, node)
            except (AttributeError, TypeError, ValueError):
                log.warning("shared_cache_slots_unreadable", server=node.name)
                continue
            return

    def _nodes_to_ask(self) -> list[CacheNode]:
        return list(dict.fromkeys([*self.nodes, *self._seeds]))

    def _assign(self, slots: Sequence[Any], asked: CacheNode) -> None:
        """Take over what CLUSTER SLOTS returned: first slot, last slot, primary, replicas."""
        by_slot: list[CacheNode | None] = [None] * VALKEY_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_ in slots:
            connection = self._connection | {"host": (host or b"").decode() or asked.host, "port": port}
            node = self._nodes.get(_name(connection))
            if node is None:
                node = self._node(connection)
                self._nodes[node.name] = node
            by_slot[first : last + 1] = [node] * (last + 1 - first)
        self._by_slot = by_slot

    def _node(self, connection: dict[str, Any]) -> CacheNode:
        return CacheNode(_name(connection), connection["host"], connection, self._limits)


async def _cluster_slots(execute: Execute) -> list[Any]:
    slots: list[Any] = await execute("CLUSTER SLOTS")
    return slots


def _connection(url: str) -> dict[str, Any]:
    """Arguments of the client's pool. Raises ValueError, without the URL, which may hold a password."""
    try:
        options: dict[str, Any] = {"host": "localhost", "port": DEFAULT_PORT, **parse_url(url)}
    except ValueError:
        raise ValueError("shared_cache has no URL of the form valkey://user:password@host:port") from None
    if issubclass(options.get("connection_class", Connection), SSLConnection):
        options.setdefault("ssl_check_hostname", True)
    # `node` bounds the time of a call, and an old server does not know the name of a library.
    return {**options, "socket_timeout": None, "lib_name": None, "lib_version": None}


def _name(connection: dict[str, Any]) -> str:
    return f"{connection['host']}:{connection['port']}"
