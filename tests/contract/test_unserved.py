"""Unimplemented fields of the contract are refused by name, never ignored.

Fields are read from the descriptor: a new field must be implemented and listed here, or refused.
"""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor
from google.protobuf.message import Message

from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.failures import failure
from tests.e2e.house import CALL_S, House, request

# Acted on by this version; everything else in these messages must be refused.
SERVED = {
    "GenerateRequest": {
        "messages",
        "sampling",
        "visual",
        "request_id",
        "logprobs",
        "response_format",
        "idempotency_key",
        "quote",
        "allow_text_substitution",
        "tier",
        "hop_limit",
        "parent_request_id",
    },
}
# Messages of requests in which every field is acted on; a new field has to be looked at here first.
WHOLE = {
    decoder_pb2.Sampling: {
        "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop", "max_new_tokens",
        "presence_penalty", "frequency_penalty", "logit_bias", "checkpoint_defaults",
    },
    decoder_pb2.Logprobs: {"top"},
    decoder_pb2.ResponseFormat: {"json_schema", "regex", "choice"},
    decoder_pb2.Choice: {"options"},
    decoder_pb2.Message: {"role", "parts"},
    decoder_pb2.Part: {"text", "image"},
    decoder_pb2.Image: {"data", "digest", "size"},
    decoder_pb2.VisualBudget: {
        "max_pixels", "max_visual_tokens", "detail", "min_detail", "on_over_budget", "repeat_policy", "reduction",
        "min_tokens", "max_short_side", "max_long_side",
    },
    decoder_pb2.Reduction: {"keep", "mode", "reducer", "flat_tolerance", "near_repeats"},
    decoder_pb2.PutImageHeader: {"digest", "byte_size"},
    decoder_pb2.PutImageRequest: {"header", "data"},
    encoder_pb2.PutImageHeader: {"digest", "byte_size"},
    encoder_pb2.PutImageRequest: {"header", "data"},
    encoder_pb2.EncodeRequest: {"digest", "plan", "fingerprint"},
    encoder_pb2.EncodePlan: {"max_pixels", "flat_tolerance", "rows"},
    encoder_pb2.RowChoice: {"keep", "auto", "reducer"},
    encoder_pb2.PlaceRowsRequest: {"encode", "stored_only", "order"},
    encoder_pb2.CountTokensRequest: {"width", "height", "max_pixels"},
}  # fmt: skip
Field = descriptor.FieldDescriptor


def unserved() -> list[str]:
    """The paths of all fields that must be refused."""
    top = [f.name for f in decoder_pb2.GenerateRequest.DESCRIPTOR.fields]
    return [name for name in top if name not in SERVED["GenerateRequest"]]


def set_field(message: Message, path: str) -> None:
    """Set the field to some non-default value."""
    *parents, name = path.split(".")
    for parent in parents:
        message = getattr(message, parent)
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.is_repeated:
        getattr(message, name).add()
        return
    if field.type == Field.TYPE_MESSAGE:
        getattr(message, name).SetInParent()
        return
    values: dict[int, Any] = {Field.TYPE_STRING: "x", Field.TYPE_BOOL: True, Field.TYPE_BYTES: b"x"}
    setattr(message, name, values.get(field.type, 1))


@pytest.mark.parametrize("path", unserved())
@pytest.mark.parametrize("rpc", ["Generate", "Complete", "CountTokens"])
async def test_an_unserved_field_is_refused_by_name(house: House, rpc: str, path: str) -> None:
    message = request("?", max_new_tokens=1)
    set_field(message, path)
    wrapped = {
        "Generate": message,
        "Complete": decoder_pb2.CompleteRequest(request=message),
        "CountTokens": decoder_pb2.CountTokensRequest(request=message),
    }
    error = await failure(getattr(house.decoder, rpc)(wrapped[rpc], timeout=CALL_S))
    assert (error.code, error.reason) == ("UNIMPLEMENTED", "NOT_SERVED")
    assert set(error.violations) == {path}


async def test_all_unserved_fields_are_named_at_once(house: House) -> None:
    message = request("?", max_new_tokens=1)
    for path in unserved():
        set_field(message, path)
    error = await failure(house.decoder.Generate(message, timeout=CALL_S))
    assert set(error.violations) == set(unserved())


@pytest.mark.parametrize("message", WHOLE, ids=lambda message: message.DESCRIPTOR.full_name)
def test_messages_that_are_served_whole_have_no_other_field(message: type[Message]) -> None:
    assert {field.name for field in message.DESCRIPTOR.fields} == WHOLE[message]


async def test_a_field_set_to_its_default_counts_as_unset(house: House) -> None:
    message = request("?", max_new_tokens=1)
    message.hop_limit, message.tier, message.allow_text_substitution = 0, "", False
    message.visual.detail = decoder_pb2.DETAIL_UNSPECIFIED
    assert len((await house.ask(message)).token_ids) == 1
