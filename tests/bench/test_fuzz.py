"""The fuzz case reaches every RPC, and counts what a service and a parser must not do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bench.fault_cases import fuzz
from bench.fault_cases.messages import FuzzCall, Known, calls
from fovea.contract.errors import InvalidArgument
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2

KNOWN = Known(["sha256:" + "ab" * 32], [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
METHODS = fuzz._methods(encoder_pb2, decoder_pb2, health_pb2)
CHECK = health_pb2.DESCRIPTOR.services_by_name["Health"].methods_by_name["Check"]


@pytest.mark.long
def test_every_rpc_gets_valid_and_malformed_requests() -> None:
    seen: dict[str, set[bool]] = {method.full_name: set() for method in METHODS}

    @seed(0)
    @settings(
        max_examples=150,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(calls(METHODS, KNOWN), min_size=20, max_size=20))
    def draw(batch: list[FuzzCall]) -> None:
        for call in batch:
            for request in call.requests:
                seen[call.method.full_name].add(_parses(call, request))

    draw()
    assert {name for name, kinds in seen.items() if kinds != {True, False}} == set()


def _parses(call: FuzzCall, request: bytes) -> bool:
    try:
        GetMessageClass(call.method.input_type).FromString(request)
    except DecodeError:
        return False
    return True


@pytest.fixture
def broken() -> Iterator[str]:
    """A server whose health check fails as gRPC for Python lets exceptions fail: with their text."""

    def check(request: bytes, context: grpc.ServicerContext) -> bytes:
        raise OSError("no file /root/model.bin")

    server = grpc.server(ThreadPoolExecutor(1))
    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0)


def test_an_unknown_status_and_its_text_are_counted_and_kept(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "FOLDER", tmp_path)
    call, counted = FuzzCall(CHECK, [b"\x0a\x01x"], False), Counter[str]()
    with grpc.insecure_channel(broken) as channel:
        error = fuzz._ended(channel, call)
    assert error is not None
    fuzz._count(error, call, counted)
    assert (counted["unknown"], counted["leaks"], counted["internal"]) == (1, 1, 0)
    assert '"hex": "0a0178"' in next(tmp_path.glob("unknown-*.json")).read_text(encoding="utf-8")
    measures = fuzz.measures(counted, fuzz.Effort(), 600.0)
    assert {name for name, measure in measures.items() if measure.met is False} == {
        "cases",
        "unknown",
        "leaks",
    }


def _refused(data: bytes) -> None:
    raise InvalidArgument(data.decode())


def test_a_parser_may_refuse_but_not_with_our_insides() -> None:
    target: Any = pytest.importorskip(
        "bench.fault_cases.fuzz_target", reason="atheris is for Linux on x86-64"
    )
    parse = target.checked(_refused)
    parse(b"the image is cut off")
    with pytest.raises(AssertionError, match="leaks"):
        parse(b"cannot read <_io.BytesIO object>")
    with pytest.raises(ZeroDivisionError):
        target.checked(lambda data: 1 // len(data))(b"")
    for name in target.TARGETS:
        for valid in target.seeds(name):
            target.TARGETS[name](valid)
