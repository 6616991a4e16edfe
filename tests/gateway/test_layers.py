"""What surrounds every request of the gateway: hosts, origins, tokens, limits, health, metrics, errors."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import grpc
import httpx2
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fovea.contract.errors import (
    ContextTooLong,
    EngineBusy,
    Internal,
    NotServed,
    QuotaExceeded,
    RowsMismatch,
    TierDidNotAnswer,
    TokenMissing,
    Unreachable,
)
from fovea.contract.errors.base import FoveaError
from fovea.server.identity import Identity, Role
from fovea.server.tokens import entry
from gateway_svc import error_body
from gateway_svc.field_names import public_name
from gateway_svc.settings import GatewaySettings
from tests.certificates import Authority
from tests.e2e.house import free_address
from tests.gateway.conftest import MODEL, Served, gateway_of
from tests.gateway.pictures import user

pytestmark = pytest.mark.timeout(300)
JSON = {"content-type": "application/json"}
ASK: dict[str, Any] = {"model": MODEL, "messages": user("Hello"), "max_tokens": 1}


async def chat(http: httpx2.AsyncClient, **options: Any) -> httpx2.Response:
    given = {"content": json.dumps(ASK), "headers": JSON} | options
    return await http.post("/v1/chat/completions", **given)


def code(response: httpx2.Response) -> str:
    return str(response.json()["error"]["code"])


async def test_an_unknown_path_or_method_is_refused_in_the_shape_of_the_api(http: httpx2.AsyncClient) -> None:
    for method, path in (
        ("GET", "/v1/nonsense"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/embeddings"),
    ):
        response = await http.request(method, path)
        assert response.status_code == 404
        assert code(response) == "NOT_SERVED"
        assert response.headers["x-request-id"] == response.json()["error"]["fovea"]["request_id"]


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:8080", "127.0.0.1.evil.test", "", "[bad", "localhost.evil.test"]
)
async def test_a_request_for_another_host_is_refused(http: httpx2.AsyncClient, host: str) -> None:
    response = await http.get("/healthz", headers={"host": host})
    assert (response.status_code, code(response)) == (403, "HOST_NOT_ALLOWED")


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
async def test_the_gateways_own_names_are_served(http: httpx2.AsyncClient, host: str) -> None:
    assert (await http.get("/healthz", headers={"host": host})).status_code == 200


async def test_further_names_are_a_setting(served: Served) -> None:
    async with gateway_of(served.house, hosts="fovea.test") as named, named.http() as http:
        assert (await http.get("/healthz", headers={"host": "fovea.test"})).status_code == 200
        assert (await http.get("/healthz", headers={"host": "other.test"})).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "https://127.0.0.1:1"])
async def test_a_page_of_another_site_is_refused(http: httpx2.AsyncClient, origin: str) -> None:
    response = await chat(http, headers=JSON | {"origin": origin})
    assert (response.status_code, code(response)) == (403, "ORIGIN_NOT_ALLOWED")
    own = await chat(http, headers=JSON | {"origin": str(http.base_url).rstrip("/")})
    assert own.status_code == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "", "multipart/form-data"]
)
async def test_a_body_that_a_page_may_send_without_asking_is_refused(
    http: httpx2.AsyncClient, kind: str
) -> None:
    response = await chat(http, headers={"content-type": kind})
    assert response.status_code == 400
    assert "content-type" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"1", b"null", b'{"a":1,"a":2}', b'{"a":NaN}', b"[" * 100_000, b"\xff\xfe", b'{"a":' + b"9" * 5000 + b"}"],
)  # fmt: skip
async def test_a_body_that_is_no_json_object_is_refused(http: httpx2.AsyncClient, body: bytes) -> None:
    response = await chat(http, content=body)
    assert (response.status_code, code(response)) == (400, "INVALID_ARGUMENT")


async def test_a_path_is_no_image(http: httpx2.AsyncClient, tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(b"secret")
    for source in (str(path), f"file://{path}", "sha256:../../etc/passwd"):
        body = ASK | {"messages": user({"type": "image_url", "image_url": {"url": source}})}
        response = await chat(http, content=json.dumps(body))
        assert (response.status_code, code(response)) == (400, "IMAGE_URL_REFUSED")


async def test_bodies_are_bounded(served: Served) -> None:
    limits = {"max_body_bytes": 2000, "max_in_flight_bytes": 2500}
    async with gateway_of(served.house, **limits) as small, small.http() as http:
        large = json.dumps(ASK | {"user": "x" * 3000})
        announced = await chat(http, content=large)
        assert (announced.status_code, code(announced)) == (413, "MESSAGE_TOO_LARGE")

        async def pieces() -> Any:
            for at in range(0, len(large), 500):
                yield large[at : at + 500].encode()

        streamed = await chat(http, content=pieces())
        assert (streamed.status_code, code(streamed)) == (413, "MESSAGE_TOO_LARGE")
        assert (await chat(http)).status_code == 200


async def test_a_body_that_does_not_arrive_is_given_up(served: Served) -> None:
    async with gateway_of(served.house, idle_s=1) as impatient:
        host, _, port = impatient.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {impatient.address}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: 10\r\n\r\n{{".encode())
        assert b"408" in await reader.readline()
        writer.close()


async def test_tokens_are_the_services_own(served: Served, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(entry("secret", Identity("acme", Role.USER)))
    async with gateway_of(served.house, tokens=tokens) as closed:
        for key, reason in (("", "TOKEN_MISSING"), ("wrong", "TOKEN_UNKNOWN")):
            async with closed.http() as http:
                response = await http.get(
                    "/v1/models", headers={"authorization": f"Bearer {key}"} if key else {}
                )
                assert (response.status_code, code(response)) == (401, reason)
        async with closed.openai("secret") as client:
            assert (await client.models.list()).data
        async with closed.openai("wrong") as client:
            with pytest.raises(openai.AuthenticationError):
                await client.models.list()
        async with closed.http() as http:
            assert (await http.get("/v1/models", headers={"x-api-key": "secret"})).status_code == 200
            assert (await http.get("/healthz")).status_code == 200


async def test_a_gateway_without_a_decoder_is_alive_and_not_ready(served: Served) -> None:
    async with gateway_of(served.house, decoder=free_address()) as alone, alone.http() as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
        response = await chat(http)
        assert (response.status_code, code(response)) == (503, "UNAVAILABLE")
    async with served.http() as http:
        assert (await http.get("/readyz")).status_code == 200


async def test_metrics_count_requests_by_route_and_status(served: Served, http: httpx2.AsyncClient) -> None:
    async def count(route: str, status: str) -> float:
        async with httpx2.AsyncClient(trust_env=False) as client:
            page = (await client.get(f"http://{served.metrics}/metrics")).text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        return sum(
            sample.value
            for sample in samples
            if sample.name == "fovea_gateway_http_requests_total"
            and (sample.labels["route"], sample.labels["status"]) == (route, status)
        )

    before = await count("/v1/chat/completions", "200"), await count("other", "404")
    await chat(http)
    await http.get("/v1/nonsense/1")
    assert (await count("/v1/chat/completions", "200"), await count("other", "404")) == (
        before[0] + 1,
        before[1] + 1,
    )


async def test_files_are_not_listed_and_not_handed_out(http: httpx2.AsyncClient) -> None:
    file_id = f"file-{'0' * 64}"
    for path, status, reason in (
        ("/v1/files", 400, "NOT_SERVED"),
        (f"/v1/files/{file_id}/content", 400, "NOT_SERVED"),
        (f"/v1/files/{file_id}", 404, "IMAGE_NOT_STORED"),
        ("/v1/files/file-abc", 400, "INVALID_ARGUMENT"),
    ):
        response = await http.get(path)
        assert (response.status_code, code(response)) == (status, reason)


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"data": {"purpose": "vision"}}, "file"),
        ({"data": {"purpose": "batch"}, "files": {"file": b"x"}}, "purpose"),
        ({"data": {"purpose": "vision", "expires_after[seconds]": "1"}, "files": {"file": b"x"}}, "expires_after[seconds]"),
    ],
)  # fmt: skip
async def test_an_upload_that_is_not_served_is_refused_by_name(
    http: httpx2.AsyncClient, form: dict[str, Any], param: str
) -> None:
    files = form.get("files", {"other": b"x"} if "purpose" not in form["data"] else {})
    response = await http.post("/v1/files", data=form["data"], files=files or {"unused": b""})
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)


async def test_a_gateway_serves_tls(served: Served, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("server")
    from gateway_svc.app import serve

    values = {"listen": free_address(), "metrics_listen": "", "decoder": served.house.decoder_side.address}
    config = GatewaySettings(**values, tls_cert=pair.cert, tls_key=pair.key, grace_s=1.0)
    task = asyncio.create_task(serve(config))
    context = ssl.create_default_context(cafile=str(authority.file))
    try:
        async with httpx2.AsyncClient(verify=context, trust_env=False) as client:
            url = f"https://localhost:{config.listen.rpartition(':')[2]}/healthz"
            async with asyncio.timeout(60):
                while True:
                    try:
                        assert (await client.get(url)).status_code == 200
                        break
                    except httpx2.ConnectError:
                        await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize(
    ("error", "status", "kind", "retry"),
    [
        (ContextTooLong(1, 2, 3), 400, "invalid_request_error", False),
        (NotServed("x"), 400, "invalid_request_error", False),
        (TierDidNotAnswer("a", "b", "c"), 400, "invalid_request_error", False),
        (TokenMissing(), 401, "authentication_error", False),
        (EngineBusy("x", 1, 2, 1.5), 429, "rate_limit_error", True),
        (QuotaExceeded("a", "tokens", 1, 2, 3, "midnight"), 429, "insufficient_quota", False),
        (Unreachable("gone"), 503, "overloaded_error", None),
        (RowsMismatch("x"), 500, "server_error", False),
        (Internal("x"), 500, "server_error", False),
    ],
)  # fmt: skip
def test_errors_have_a_status_a_type_and_advice(
    error: FoveaError, status: int, kind: str, retry: bool | None
) -> None:
    response = error_body.respond(error, "/v1/models", "r1")
    body = json.loads(bytes(response.body))["error"]
    assert (response.status_code, body["type"], body["code"]) == (status, kind, error.reason)
    assert response.headers.get("x-should-retry") == (None if retry is None else str(retry).lower())
    assert ("retry-after" in response.headers) is bool(retry)
    if retry:
        assert response.headers["retry-after"] == "2"
        assert response.headers["retry-after-ms"] == "1500"


def test_every_grpc_code_has_a_status() -> None:
    for each in grpc.StatusCode:
        if each is not grpc.StatusCode.OK:
            error = Internal("x")
            error.code = each  # type: ignore[misc]
            assert 400 <= error_body.status_of(error) <= 599


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("sampling.top_p", "top_p"),
        ("sampling.max_new_tokens", "max_completion_tokens"),
        ("messages[0].parts[1].image.digest", "messages[0].content[1].image_url"),
        ("messages[2].parts[0]", "messages[2].content[0]"),
        ("request.messages", "messages"),
        ("logprobs.top", "top_logprobs"),
        ("response_format.json_schema", "response_format.json_schema.schema"),
        ("response_format.regex", "fovea.regex"),
        ("tools[3].parameters", "tools[3].function.parameters"),
        ("tool_choice.name", "tool_choice.function.name"),
        ("visual.max_visual_tokens", "fovea.budget.max_visual_tokens"),
        ("visual.reduction.mode", "fovea.budget.reduction"),
        ("visual.reduction.keep", "fovea.budget.keep"),
        ("quote", "fovea.quote"),
        ("thinking", "reasoning_effort"),
    ],
)
def test_fields_have_the_names_that_clients_know(path: str, name: str) -> None:
    assert public_name(path) == name


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"listen": "0.0.0.0:8080"}, "open to other machines"),
        ({"decoder": "decoder:50052"}, "on another machine"),
        ({"image_hosts": "http://a.test"}, "is not a host name"),
        ({"decoder_cert": "c"}, "needs"),
        ({"tls_cert": "c"}, "needs"),
    ],
)
def test_settings_that_are_not_safe_are_refused(given: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        GatewaySettings(**given)
    if problem in ("open to other machines", "on another machine"):
        GatewaySettings(**given, insecure=True)
