"""The check of statuses and log lines acts; see `tests/conftest.py`."""

from __future__ import annotations

import grpc
import pytest
import structlog

from bench.fault_cases.leaks import IN_LOGS, leaks
from tests.leaks import watched

INSIDES = [
    "cannot open /root/.cache/model", "Traceback (most recent call last)", "cannot identify <_io.BytesIO object at 0x7f12ab>",
    "PIL could not read it", "lmdb.MapFullError", "connection to 10.0.0.7:50051 refused", "ValueError: bad", "[Errno 2] no file",
    "Internal error from Core", "service.py line 3", "encoder 10.0.0.7:50051 cannot be reached", "10.0.0.7:50051",
]  # fmt: skip
CLEAN = [
    "messages[0].parts[1].image: the image has 5 bytes; at most 4 are allowed", "the call ended without a request: /grpc.health.v1.Health/Check",
    "the digest sha256:00ff is not stored", "the image is 0x2147483647: both sides must be at least 1", "at most 0.5 is allowed", "",
]  # fmt: skip


@pytest.mark.parametrize("text", INSIDES)
def test_a_text_with_our_insides_is_found(text: str) -> None:
    assert leaks([text]) == [text]


@pytest.mark.parametrize("text", CLEAN)
def test_other_texts_pass(text: str) -> None:
    assert leaks([text]) == []


def test_what_the_caller_sent_may_be_repeated() -> None:
    assert leaks(["no tenant 10.0.0.7:50051"], own=["10.0.0.7:50051"]) == []


def test_a_log_line_may_name_a_path_and_no_object() -> None:
    assert leaks(["opened /root/store"], pattern=IN_LOGS) == []
    assert leaks(["got <Batch object at 0x7f0012345678>"], pattern=IN_LOGS)


async def test_a_status_and_a_log_line_of_a_test_are_seen() -> None:
    """As the suite's fixture sees them; without the watch, `found` would be empty."""

    async def leaking(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "cannot read /root/secret")
        raise AssertionError

    server = grpc.aio.server()
    handlers = {"One": grpc.unary_unary_rpc_method_handler(leaking)}
    server.add_registered_method_handlers("test.Kit", handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with watched() as watch:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/test.Kit/One")(b"x", timeout=30)
        structlog.get_logger().info("kept", what=object())
    await server.stop(0)
    found = watch.found()
    assert "cannot read /root/secret" in found
    assert any("object at 0x" in text for text in found)


UNSAFE = {
    "S301": "import pickle\npickle.loads(b'')\n", "TID251": "import pickle\n", "S302": "import marshal\nmarshal.loads(b'')\n",
    "S307": "eval('1')\n", "S102": "exec('1')\n", "S506": "import yaml\nyaml.load('', yaml.Loader)\n",
}  # fmt: skip


@pytest.mark.parametrize("rule", UNSAFE)
def test_the_linter_refuses_code_that_runs_bytes(rule: str) -> None:
    assert rule in _linted(UNSAFE[rule])


@pytest.mark.parametrize("code", ["import shelve\n", "import torch\ntorch.load('x')\n"])
def test_the_linter_refuses_wrappers_of_pickle(code: str) -> None:
    assert "TID251" in _linted(code)


def _linted(code: str) -> str:
    import subprocess
    import sys

    command = [sys.executable, "-m", "ruff", "check", "--stdin-filename", "fovea/linted.py", "-"]
    return subprocess.run(command, input=code, capture_output=True, text=True, check=False).stdout
