"""Every failure has a reason of the contract; its details fit the metadata limits of Java and proxies."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import fields
from string import Formatter
from typing import Any

import pytest

import decoder_svc
import encoder_svc
import fovea
from fovea.contract.errors import FoveaError, ImageNotStored, TemplatedError, Violation
from fovea.contract.remote import _PLAIN
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from fovea.server import status
from fovea.vision.v1 import errors_pb2
from tests.e2e.failures import DETAILS_BYTES, failure
from tests.e2e.house import CALL_S, House, request
from tests.e2e.pictures import picture

JAVA_METADATA_BYTES = 8192
REASONS = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.keys()}


def _modules() -> Iterator[str]:
    for package in (fovea, encoder_svc, decoder_svc):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                yield module.name


def _failures(error: type[FoveaError] = FoveaError) -> set[type[FoveaError]]:
    return {error}.union(*(_failures(sub) for sub in error.__subclasses__()))


def _our_failures() -> set[type[FoveaError]]:
    for name in _modules():
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != "vllm":  # it has an environment of its own
                raise
    return {e for e in _failures() if e.__module__.split(".")[0] in ("fovea", "encoder_svc", "decoder_svc")}


def test_every_failure_of_the_code_has_a_reason_of_the_contract() -> None:
    ours = _our_failures()
    assert len(ours) > 40
    unknown = {f"{e.__module__}.{e.__qualname__}: {e.reason}" for e in ours if e.reason not in REASONS}
    assert not unknown


def _templates(error: type[TemplatedError]) -> str:
    return " ".join([getattr(error, "text", ""), *(error.violation or ()), error.info or ""])


def test_templates_name_attributes_of_their_class() -> None:
    for error in _our_failures():
        if issubclass(error, TemplatedError) and error is not TemplatedError:
            names = {name for _, name, _, _ in Formatter().parse(_templates(error)) if name}
            assert names <= {spec.name for spec in fields(error)} | set(dir(error)), error


def test_fields_do_not_hide_attributes_of_every_error() -> None:
    """`retry_after_s` may be a field: it then fills the attribute."""
    taken = {*dir(FoveaError), *vars(FoveaError("text"))} - {"retry_after_s"}
    for error in _our_failures():
        if issubclass(error, TemplatedError) and error is not TemplatedError:
            assert not taken & {spec.name for spec in fields(error)}, error


def test_a_value_with_braces_is_not_a_template() -> None:
    error = ImageNotStored("{digest} {0} {text}")
    assert error.message.startswith("no image {digest} {0} {text} is stored")
    assert error.metadata == {"digest": "{digest} {0} {text}"}


def test_every_reason_of_a_status_without_details_is_of_the_contract() -> None:
    assert set(_PLAIN.values()) <= REASONS


def test_details_of_the_worst_error_stay_under_4_kib() -> None:
    """Long texts of four-byte characters: limits count bytes."""
    long = "\U0001f996" * 5000
    error = FoveaError(
        long,
        violations=[Violation(long, long)] * 100,
        retry_after_s=1.5,
        **{f"value_{at}": long for at in range(20)},
    )
    made = status.of(error, "x" * 128)
    assert made.ByteSize() < DETAILS_BYTES
    trailing = status.trailing(error, made)
    # As grpc-java counts: names, values (binary ones in base64), the percent-encoded message, 32 an entry.
    sizes = [len(key) + len(value) * 4 // 3 + 36 for key, value in trailing]
    assert sum(sizes) + 3 * len(made.message.encode()) < JAVA_METADATA_BYTES


def _hostile() -> dict[str, Any]:
    """Requests that try to produce large errors or to inject their text into the answer."""
    long = "\U0001f996" * 200_000
    crowd = decoder_pb2.GenerateRequest(messages=[decoder_pb2.Message()] * 20_000)
    roles = decoder_pb2.GenerateRequest(
        messages=[decoder_pb2.Message(role=99, parts=[decoder_pb2.Part(text="x")])]  # type: ignore[arg-type]
    )
    stops = request("?")
    stops.sampling.stop.extend([""] * 20_000)
    tier = request("?")
    tier.tier = long
    named = request("?", [long])
    named.request_id = long
    pads = request("<|image_pad|><|vision_start|>" * 20_000, [picture()])
    nameless = decoder_pb2.GenerateRequest(
        messages=[decoder_pb2.Message(role=decoder_pb2.ROLE_USER, parts=[decoder_pb2.Part()])]
    )
    return {
        "no message": decoder_pb2.GenerateRequest(),
        "20,000 empty messages": crowd,
        "an unknown role": roles,
        "20,000 empty stop strings": stops,
        "a tier of 800 KB": tier,
        "a digest and an id of 800 KB": named,
        "20,000 placeholders": pads,
        "a part that is nothing": nameless,
    }


@pytest.mark.parametrize("name", _hostile())
async def test_hostile_requests_get_small_typed_errors(house: House, name: str) -> None:
    failed = await failure(house.decoder.Generate(_hostile()[name], timeout=CALL_S))
    assert failed.code in ("INVALID_ARGUMENT", "UNIMPLEMENTED")
    assert failed.metadata_bytes < JAVA_METADATA_BYTES


async def test_hostile_texts_to_the_encoder_get_small_typed_errors(house: House) -> None:
    long = "\U0001f996" * 200_000
    stored = (await house.put(picture())).facts.digest
    calls = [
        house.encoder.DescribeImage(encoder_pb2.DescribeImageRequest(digest=long), timeout=CALL_S),
        house.encoder.DeleteImage(encoder_pb2.DeleteImageRequest(digest=long), timeout=CALL_S),
        house.encoder.Encode(encoder_pb2.EncodeRequest(digest=long), timeout=CALL_S),
        house.encoder.Encode(encoder_pb2.EncodeRequest(digest=stored, fingerprint=long), timeout=CALL_S),
    ]
    for call in calls:
        failed = await failure(call)
        assert failed.metadata_bytes < JAVA_METADATA_BYTES
        assert failed.code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")


async def test_special_tokens_in_a_text_are_text(house: House) -> None:
    """Special tokens in a caller's text are neither images nor stop tokens."""
    message = request("<|image_pad|><|im_end|><|vision_start|>", [picture()], max_new_tokens=2)
    answered = await house.ask(message)
    assert answered.started.visual_tokens == 6


async def test_a_message_above_the_limit_is_refused_and_the_server_goes_on(house: House) -> None:
    import grpc

    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await house.ask(request("x" * (33 << 20)))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len((await house.ask(request("?", max_new_tokens=1))).token_ids) == 1
