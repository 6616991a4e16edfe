"""Watches every status and log line of a test for what must not be in them; see `bench.fault_cases.leaks`."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
import structlog
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from bench.fault_cases.leaks import IN_LOGS, leaks

DETAILS = "grpc-status-details-bin"
NO_SERVER = grpc.StatusCode.UNAVAILABLE
"""The client's own gRPC makes such a status, and it names the address that the caller dialled."""

LOST = "Internal error from Core"
"""The asyncio client makes this status itself when it loses that of the server. A service that passes it on
sends it with our details.
"""


class Watch:
    """The statuses that asyncio clients received and the lines that were logged, as texts."""

    def __init__(self) -> None:
        self.statuses: list[str] = []
        self.lines: list[str] = []

    def found(self) -> list[str]:
        return leaks(self.statuses) + leaks(self.lines, pattern=IN_LOGS)

    def status(self, code: grpc.StatusCode, details: str | None, trailing: Any) -> None:
        packed = dict(trailing or ()).get(DETAILS)
        if packed is not None or (code is not NO_SERVER and details != LOST):
            self.statuses += [details or "", *_detail_texts(packed or b"")]

    def line(self, _: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A processor of structlog. Tracebacks belong to the log of a defect, and to no other line."""
        self.lines.append(" ".join(str(value) for key, value in event.items() if key != "exc_info"))
        return event


def _detail_texts(packed: bytes) -> list[str]:
    try:
        status = status_pb2.Status.FromString(packed)
    except DecodeError:
        return []
    texts = [status.message]
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            texts += error_details_pb2.ErrorInfo.FromString(detail.value).metadata.values()
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
            texts += [violation.description for violation in bad.field_violations]
    return texts


@contextmanager
def watched() -> Iterator[Watch]:
    """Both kinds of text until the end of the block; what structlog was configured with stays."""
    watch, before = Watch(), structlog.get_config()["processors"]
    received = grpc.aio.AioRpcError.__init__

    def received_and_seen(
        self: Any, code: Any, initial: Any, trailing: Any, *more: Any, **named: Any
    ) -> None:
        received(self, code, initial, trailing, *more, **named)
        watch.status(code, self.details(), trailing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc.aio.AioRpcError, "__init__", received_and_seen)
        structlog.configure(processors=[watch.line, *before])
        try:
            yield watch
        finally:
            if watch.line in structlog.get_config()["processors"]:
                structlog.configure(processors=before)
