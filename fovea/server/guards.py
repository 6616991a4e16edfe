"""Bounds on what the requests of running calls may hold and contain, before anything reads them.

Independent of any service's messages: fields are counted by the descriptor of the request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fovea.contract.errors import InvalidArgument, MessageTooLarge, ServerBusy, TenantBusy
from fovea.server.identity import current_identity

PUBLIC_BYTES = 4096
QUOTA_RETRY_S = 1.0
PUBLIC_IDLE_S = 10.0
MIN_FIELD_BYTES = 2
VARINT_BYTES = 10
"""The longest varint of protobuf. An endless value must not grow an integer byte by byte."""
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}


@dataclass(frozen=True)
class RequestLimits:
    """What a call may hold: `idle_s` is how long it may wait for its caller; `max_bytes` bounds all calls
    together; `max_fields` counts the fields of a request with those of its submessages.
    """

    idle_s: float = 60.0
    max_bytes: int = 160 * 1024 * 1024
    max_fields: int = 10_000

    @property
    def of_public(self) -> RequestLimits:
        """The limits of calls that need no token: a stranger's silence is not worth a minute."""
        return replace(self, idle_s=min(self.idle_s, PUBLIC_IDLE_S))


class BytesInFlight:
    """Bytes of requests that running calls hold in this process. Lives in a single event loop.

    Without it, callers that send large requests and never end them fill the memory. A tenant holds at most
    `share` of the `limit`, so that it cannot keep others out.
    """

    def __init__(self, limit: int, share: float = 1.0) -> None:
        self.limit = limit
        self._tenant_limit = int(limit * share)
        self._held: Counter[str] = Counter()

    @property
    def used(self) -> int:
        return self._held.total()

    @contextmanager
    def held(self) -> Iterator[Callable[[int], None]]:
        """Yields a function that counts bytes of the caller until the call ends. It raises ServerBusy."""
        held: Counter[str] = Counter()

        def hold(size: int) -> None:
            tenant = current_identity().tenant
            for limit, used in ((self.limit, self.used), (self._tenant_limit, self._held[tenant])):
                if used + size > limit:
                    raise ServerBusy(limit, used + size)
            self._held[tenant] += size
            held[tenant] += size

        try:
            yield hold
        finally:
            self._held -= held  # which also drops tenants that hold nothing


class TenantQuota:
    """Things that the running calls of a tenant hold, at most `limit`; 0 is no limit. `field` is its setting.

    Lives in a single event loop.
    """

    def __init__(self, field: str, limit: int) -> None:
        self._field = field
        self._limit = limit
        self._held: Counter[str] = Counter()

    @contextmanager
    def held(self, tenant: str, count: int = 1) -> Iterator[None]:
        """Hold `count` things. Raises TenantBusy, without advice to retry if the call alone is too large."""
        held = self._held[tenant] + count
        if self._limit and held > self._limit and count:
            retry_after_s = QUOTA_RETRY_S if count <= self._limit else None
            raise TenantBusy(self._field, self._limit, held, retry_after_s)
        self._held[tenant] = held
        try:
            yield
        finally:
            self._held -= Counter({tenant: count})  # which also drops tenants that hold nothing


def refuse_large(size: int) -> None:
    """The bound of calls that need no token, such as health checks: anyone may keep them open."""
    if size > PUBLIC_BYTES:
        raise MessageTooLarge(f"the request has {size} bytes; at most {PUBLIC_BYTES} are allowed")


def check_field_count(data: bytes, kind: Any, limit: int) -> None:
    """Raises InvalidArgument if a message of the protobuf class `kind` has more than `limit` fields.

    Millions of tiny fields cost seconds in the parser, which holds the interpreter's lock. Malformed data
    passes: the parser refuses it.
    """
    if len(data) <= MIN_FIELD_BYTES * limit:
        return
    pending = [(0, len(data), kind.DESCRIPTOR)]
    count = 0
    while pending:
        at, end, descriptor = pending.pop()
        while at < end:
            count += 1
            if count > limit:
                raise InvalidArgument.of_field("", f"the request has more than {limit} fields", limit=limit)
            key, at = _varint(data, at)
            wire_type = key & 7
            if wire_type == LENGTH:
                size, at = _varint(data, at)
                field = descriptor.fields_by_number.get(key >> 3)
                if field is not None and field.message_type is not None:
                    pending.append((at, min(at + size, end), field.message_type))
                at += size
            elif wire_type == VARINT:
                _, at = _varint(data, at)
            else:
                at += _FIXED.get(wire_type, end)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The value at `at`, and where the next begins: at the end of the data if the value is malformed."""
    value = 0
    for number, byte in enumerate(data[at : at + VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value, at + number + 1
    return value, len(data)
