"""Who may call what: tokens, roles and tenants, over a real server; metrics and log see every refusal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from fovea.access.files import CredentialFile
from fovea.decoder.v1 import decoder_pb2, usage_pb2
from fovea.encoder.v1 import encoder_pb2
from fovea.server.access import Access
from fovea.server.identity import ROLES, TRUSTED, Identity, Role, current_identity
from fovea.server.process import Binding, ServerProcess
from fovea.server.tokens import entry, load_tokens
from tests.e2e.failures import failure

DECODER, ENCODER = "fovea.decoder.v1.DecoderService", "fovea.encoder.v1.EncoderService"
GENERATE, ENCODE, STATS = f"/{DECODER}/Complete", f"/{ENCODER}/Encode", f"/{ENCODER}/GetCacheStats"
IDENTITIES = {
    "user": Identity("acme", Role.USER, "backend"),
    "service": Identity("default", Role.SERVICE),
    "operator": Identity("ops", Role.OPERATOR),
}
TIMEOUT_S = 10.0


class Server:
    """A server whose methods answer with the identity of their caller; `seen` counts the requests they got."""

    def __init__(self, access: Access) -> None:
        self.registry = CollectorRegistry()
        self.seen = 0
        self._methods = (GENERATE, ENCODE, STATS, f"/{DECODER}/PutImage", f"/{DECODER}/NotInTheTable")
        self.process = ServerProcess(
            Binding("127.0.0.1:0", "", 1 << 20, access=access), DECODER, self._register, self.registry
        )
        self.channel: grpc.aio.Channel

    def _register(self, server: grpc.aio.Server) -> None:
        async def unary(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return self._answer()

        async def stream(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            yield self._answer()

        async def upload(requests: Any, context: grpc.aio.ServicerContext) -> bytes:
            async for _ in requests:
                self.seen += 1
            return self._answer()

        handlers = {
            ENCODE: grpc.unary_stream_rpc_method_handler(stream),
            f"/{DECODER}/PutImage": grpc.stream_unary_rpc_method_handler(upload),
        }
        for method in self._methods:
            service, name = method[1:].split("/")
            handler = handlers.get(method, grpc.unary_unary_rpc_method_handler(unary))
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))

    def _answer(self) -> bytes:
        self.seen += 1
        identity = current_identity()
        return f"{identity.tenant} {identity.role}".encode()

    async def call(self, method: str, token: str = "", **metadata: str) -> str:
        pairs = [(key.replace("_", "-"), value) for key, value in metadata.items()]
        pairs += [("authorization", f"Bearer {token}")] if token else []
        return await self.with_metadata(method, *pairs)

    async def with_metadata(self, method: str, *pairs: tuple[str, str]) -> str:
        options: dict[str, Any] = {"metadata": pairs, "timeout": TIMEOUT_S}
        if method == ENCODE:
            return b"".join(
                [part async for part in self.channel.unary_stream(method)(b"x", **options)]
            ).decode()
        if method.endswith("PutImage"):
            return (await self.channel.stream_unary(method)(iter([b"x"]), **options)).decode()
        return (await self.channel.unary_unary(method)(b"x", **options)).decode()

    def handled(self, method: str, code: str) -> float:
        service, name = method[1:].split("/")
        labels = {"grpc_service": service, "grpc_method": name, "grpc_code": code}
        return self.registry.get_sample_value("grpc_server_handled_total", labels) or 0.0


@asynccontextmanager
async def serving(access: Access) -> AsyncIterator[Server]:
    server = Server(access)
    await server.process.start()
    await server.process.ready()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.process.port}") as server.channel:
            yield server
    finally:
        await server.process.drain(0)


def token_file(folder: Path, identities: Mapping[str, Identity] = IDENTITIES) -> CredentialFile:
    """Each identity's token is its key."""
    path = folder / "tokens.toml"
    path.write_text("\n".join(entry(token, identity) for token, identity in identities.items()))
    return CredentialFile(path, "--tokens")


@pytest.fixture
def closed(tmp_path: Path) -> Access:
    return Access(tokens=load_tokens(token_file(tmp_path)))


EVERY_KIND = (GENERATE, ENCODE, f"/{DECODER}/PutImage")


@pytest.mark.parametrize("method", EVERY_KIND)
async def test_a_call_without_a_valid_token_is_refused_before_its_request_is_read(
    closed: Access, method: str
) -> None:
    async with serving(closed) as server:
        for metadata, reason in (
            ((), "TOKEN_MISSING"),
            ((("authorization", "Basic operator"),), "TOKEN_MISSING"),
            ((("authorization", "Bearer"),), "TOKEN_MISSING"),
            ((("authorization", "operator"),), "TOKEN_MISSING"),
            ((("authorization", "Bearer Operator"),), "TOKEN_UNKNOWN"),
        ):
            refused = await failure(server.with_metadata(method, *metadata))
            assert (refused.code, refused.reason) == ("UNAUTHENTICATED", reason)
        assert server.seen == 0
        await server.call(method, "operator")
        await server.with_metadata(method, ("authorization", "bearer operator"))


@pytest.mark.parametrize("method", EVERY_KIND)
async def test_metrics_and_log_see_a_refused_caller(closed: Access, method: str) -> None:
    """Both are outside of the authentication: a break-in attempt must not be invisible."""
    async with serving(closed) as server:
        with capture_logs() as logs:
            await failure(server.call(method, "wrong"))
            await failure(
                server.with_metadata(method, ("authorization", "Bearer x"), ("fovea-tenant", "acme"))
            )
            async with asyncio.timeout(10):  # a client may see its status before the layers have ended
                while server.handled(method, "UNAUTHENTICATED") < 2:
                    await asyncio.sleep(0.01)
        assert server.handled(method, "OK") == 0
        calls = [line for line in logs if line["event"] == "call"]
        assert [(line["code"], line["reason"]) for line in calls] == 2 * [
            ("UNAUTHENTICATED", "TOKEN_UNKNOWN")
        ]
        assert not [line for line in calls if "tenant" in line]
        assert "wrong" not in str(logs)


async def test_the_log_names_the_caller_and_never_the_token(closed: Access) -> None:
    async with serving(closed) as server:
        with capture_logs(processors=[merge_contextvars]) as logs:
            await server.call(GENERATE, "user")
            await server.call(GENERATE, "service", fovea_tenant="other")
            await failure(server.call(STATS, "user"))
    lines = [line for line in logs if line["event"] == "call"]
    callers = [(line.get("tenant"), line.get("role"), line.get("token")) for line in lines]
    assert callers == [("acme", "user", "backend"), ("other", "service", None), ("acme", "user", "backend")]
    assert [line["code"] for line in lines] == ["OK", "OK", "PERMISSION_DENIED"]
    assert "Bearer" not in str(logs)


@pytest.mark.parametrize(
    ("method", "allowed"),
    [
        (GENERATE, {"user", "service", "operator"}),
        (f"/{DECODER}/PutImage", {"user", "service", "operator"}),
        (ENCODE, {"service", "operator"}),
        (STATS, {"operator"}),
        (f"/{DECODER}/NotInTheTable", {"operator"}),
    ],
)
async def test_a_role_makes_the_calls_of_the_table_and_no_other(
    closed: Access, method: str, allowed: set[str]
) -> None:
    async with serving(closed) as server:
        for token in IDENTITIES:
            if token in allowed:
                assert await server.call(method, token)
                continue
            seen = server.seen
            refused = await failure(server.call(method, token))
            assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "ROLE_NOT_ALLOWED")
            assert refused.metadata == {"role": token, "method": method}
            assert server.seen == seen


def test_the_table_of_roles_names_every_method_of_the_contract() -> None:
    methods = {
        f"/{service.full_name}/{method.name}"
        for file in (decoder_pb2.DESCRIPTOR, usage_pb2.DESCRIPTOR, encoder_pb2.DESCRIPTOR)
        for service in file.services_by_name.values()
        for method in service.methods
    }
    assert methods == set(ROLES)


async def test_the_tenant_is_the_tokens_and_only_a_service_acts_for_another(closed: Access) -> None:
    async with serving(closed) as server:
        assert await server.call(GENERATE, "user") == "acme user"
        assert await server.call(GENERATE, "user", fovea_tenant="acme") == "acme user"
        assert await server.call(GENERATE, "service") == "default service"
        assert await server.call(ENCODE, "service", fovea_tenant="acme") == "acme service"
        for token in ("user", "operator"):
            refused = await failure(server.call(GENERATE, token, fovea_tenant="other"))
            assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "TENANT_NOT_ALLOWED")
        assert await server.call(GENERATE, "user") == "acme user", "nothing is left of an earlier call"


@pytest.mark.parametrize("tenant", ["a b", "a/b", "x" * 65, ".hidden"])
async def test_a_tenant_that_is_no_name_is_refused(closed: Access, tenant: str) -> None:
    async with serving(closed) as server:
        refused = await failure(server.call(ENCODE, "service", fovea_tenant=tenant))
    assert refused.code == "INVALID_ARGUMENT"


async def test_metadata_that_is_sent_twice_is_refused(closed: Access) -> None:
    """Which of two values counts would depend on the library that reads them."""
    async with serving(closed) as server:
        twice = [("authorization", "Bearer user"), ("authorization", "Bearer operator")]
        assert (await failure(server.with_metadata(STATS, *twice))).code == "INVALID_ARGUMENT"
        tenants = [("fovea-tenant", "acme"), ("fovea-tenant", "other"), ("authorization", "Bearer service")]
        assert (await failure(server.with_metadata(ENCODE, *tenants))).code == "INVALID_ARGUMENT"
        assert server.seen == 0


async def test_a_removed_token_is_refused_from_the_next_call_on(closed: Access, tmp_path: Path) -> None:
    async with serving(closed) as server:
        assert await server.call(GENERATE, "user") == "acme user"
        token_file(tmp_path, {name: IDENTITIES[name] for name in ("service", "operator")})
        assert (await failure(server.call(GENERATE, "user"))).reason == "TOKEN_UNKNOWN"
        assert await server.call(GENERATE, "service") == "default service"


async def test_a_server_without_tokens_trusts_every_caller() -> None:
    async with serving(Access()) as server:
        assert await server.call(STATS) == f"{TRUSTED.tenant} {TRUSTED.role}"
        assert await server.call(ENCODE, "anything", fovea_tenant="acme") == "acme operator"


async def listed(server: Server) -> set[str]:
    """The services that reflection names."""
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    answers = [answer async for answer in stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT_S)]
    return {service.name for answer in answers for service in answer.list_services_response.service}


async def test_health_needs_no_token_and_reflection_is_a_setting(closed: Access) -> None:
    request = health_pb2.HealthCheckRequest(service="readiness")
    async with serving(closed) as server:
        reply = await health_pb2_grpc.HealthStub(server.channel).Check(request, timeout=TIMEOUT_S)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        assert DECODER in await listed(server)
    async with serving(Access(tokens=closed.tokens, reflection=False)) as server:
        with pytest.raises(grpc.aio.AioRpcError, match="Method not found"):
            await listed(server)


async def test_health_checks_of_strangers_hold_nothing(closed: Access) -> None:
    """Watch needs no token and never ends: large requests are refused, small ones take no caller's bytes."""
    async with serving(closed) as server:
        watch = health_pb2_grpc.HealthStub(server.channel).Watch
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await watch(health_pb2.HealthCheckRequest(service="a" * 100_000)).read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        small = watch(health_pb2.HealthCheckRequest(service="liveness"))
        assert (await small.read()).status
        small.cancel()


async def test_the_reason_of_a_refused_upload_arrives(closed: Access) -> None:
    """A caller without a token that has begun to write must not see gRPC's INTERNAL instead."""
    async with serving(closed) as server:
        upload = server.channel.stream_unary(f"/{DECODER}/PutImage")
        for _ in range(20):
            assert (await failure(upload(iter([bytes(1 << 19)] * 16)))).reason == "TOKEN_MISSING"
