"""Every field of a request is acted on, and none is ignored.

Fields are read from the descriptor: a new field must be implemented and listed here, or refused by name.
"""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2
from tests.e2e.house import House, request

# Messages of requests in which every field is acted on; a new field has to be looked at here first.
WHOLE = {
    decoder_pb2.GenerateRequest: {
        "messages", "sampling", "visual", "request_id", "logprobs", "response_format", "idempotency_key", "quote",
        "allow_text_substitution", "tier", "hop_limit", "parent_request_id", "tools", "tool_choice",
        "parallel_tool_calls", "thinking", "continue_final_message",
    },
    decoder_pb2.Tool: {"name", "description", "parameters", "strict"},
    decoder_pb2.ToolCall: {"id", "name", "arguments"},
    decoder_pb2.ToolChoice: {"mode", "name"},
    decoder_pb2.Sampling: {
        "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop", "max_new_tokens",
        "presence_penalty", "frequency_penalty", "logit_bias", "checkpoint_defaults",
    },
    decoder_pb2.Logprobs: {"top"},
    decoder_pb2.ResponseFormat: {"json_schema", "regex", "choice"},
    decoder_pb2.Choice: {"options"},
    decoder_pb2.Message: {"role", "parts", "tool_calls", "tool_call_id", "reasoning"},
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


@pytest.mark.parametrize("message", WHOLE, ids=lambda message: message.DESCRIPTOR.full_name)
def test_messages_that_are_served_whole_have_no_other_field(message: type[Message]) -> None:
    assert {field.name for field in message.DESCRIPTOR.fields} == WHOLE[message]


async def test_a_field_set_to_its_default_counts_as_unset(house: House) -> None:
    message = request("?", max_new_tokens=1)
    message.hop_limit, message.tier, message.allow_text_substitution = 0, "", False
    message.visual.detail = decoder_pb2.DETAIL_UNSPECIFIED
    assert len((await house.ask(message)).token_ids) == 1
