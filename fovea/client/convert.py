"""From the messages of both services to the client's values. Calls nobody."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Any

from fovea.client.errors import RowsMismatch
from fovea.client.values import (
    Alternative,
    Count,
    Event,
    Finished,
    ImagePlan,
    Placed,
    ServerInfo,
    Started,
    Text,
)
from fovea.contract import budget
from fovea.contract.count import token_count_from_proto
from fovea.contract.image import StoredImage, facts_from_proto
from fovea.contract.receipt import Step, receipt_from_proto
from fovea.contract.rows import layout_from_proto, origin_from_proto
from fovea.decoder.v1 import decoder_pb2
from fovea.encoder.v1 import encoder_pb2

_COMMON = {field.name for field in fields(ServerInfo)} | {"loading_progress"}


def event(message: decoder_pb2.GenerateResponse) -> Event | None:
    """None for an event that a later server sends and this client does not know."""
    kind = message.WhichOneof("event")
    if kind == "started":
        return Started(**flat(message.started))
    if kind == "delta":
        delta = message.delta
        return Text(delta.text, tuple(delta.token_ids), tuple(delta.logprobs))
    if kind == "finished":
        end = message.finished
        reason = decoder_pb2.FinishReason.Name(end.finish_reason).removeprefix("FINISH_REASON_")
        return Finished(reason.lower(), end.matched_stop, receipt_from_proto(end.receipt))
    return None


def stored(message: Any) -> StoredImage:
    """A PutImageResponse or DescribeImageResponse of either service."""
    return StoredImage(
        facts=facts_from_proto(message.facts),
        already=getattr(message, "already_stored", True),
        expires=message.expire_time.ToNanoseconds() / 1e9,
        encoder=getattr(message, "encoder", ""),
    )


def count(message: decoder_pb2.CountTokensResponse) -> Count:
    return Count(
        prompt_tokens=message.prompt_tokens,
        text_tokens=message.text_tokens,
        visual_tokens=message.visual_tokens,
        images=tuple(token_count_from_proto(image) for image in message.images),
        kv_bytes=message.kv_bytes,
        fits_context=message.fits_context,
        exact=message.exact,
        visual_tokens_min=message.visual_tokens_min,
        row_bytes=message.row_bytes,
        prefill_flops=message.prefill_flops,
        prefill_ms=message.prefill_ms,
        plans=tuple(_plan(plan) for plan in message.plans),
        alternatives=tuple(_alternative(one) for one in message.alternatives),
    )


def _plan(message: decoder_pb2.ImagePlan) -> ImagePlan:
    return ImagePlan(
        steps=tuple(Step(**flat(step)) for step in message.steps),
        tokens=message.tokens,
        tokens_min=message.tokens_min,
        repeat_of=message.repeat_of if message.HasField("repeat_of") else None,
    )


def _alternative(message: decoder_pb2.Alternative) -> Alternative:
    return Alternative(budget=budget.from_proto(message.visual), **flat(message))


def kept(header: encoder_pb2.EncodeHeader) -> tuple[int, ...]:
    """The places of the rows; none where all are there. Raises RowsMismatch for places that cannot be."""
    places = tuple(header.kept)
    rising = all(before < after for before, after in pairwise(places))
    if places and not (rising and len(places) == header.rows and places[-1] < header.count.tokens):
        raise RowsMismatch(f"{len(places)} places for {header.rows} rows, or places that are not on the grid")
    return places


def placed(message: encoder_pb2.PlaceRowsResponse) -> Placed:
    header = message.header
    return Placed(
        known=message.known,
        cost=token_count_from_proto(header.count),
        count=header.rows,
        kept=kept(header),
        order=tuple(message.order),
        source=origin_from_proto(header.source),
        encoder=header.encoder,
        fingerprint=header.fingerprint,
        timings=flat(message.timings),
    )


def server_info(message: Any, states: Any) -> ServerInfo:
    """A GetServerInfoResponse of either service; `states` is that service's ServingState."""
    plain = flat(message)
    return ServerInfo(
        version=message.version,
        model=message.model,
        fingerprint=message.fingerprint,
        state=states.Name(message.state).removeprefix("SERVING_STATE_").lower(),
        progress=message.loading_progress,
        dtype=message.dtype,
        features=tuple(message.features),
        limits=flat(message.limits),
        load=flat(message.load),
        details={name: value for name, value in plain.items() if name not in _COMMON} | _nested(message),
    )


def _nested(message: Any) -> dict[str, Any]:
    layout = layout_from_proto(message.layout)
    described = None
    if layout is not None:
        described = {"width": layout.width, "levels": layout.levels, "dtype": layout.dtype.value}
        described["row_bytes"] = layout.row_bytes
    peers = [flat(peer) for peer in getattr(message, "encoders", ())]
    return {"layout": described} | ({"encoders": peers} if peers else {})


def flat(message: Any) -> dict[str, Any]:
    """The single plain fields of a message by name: no lists, no messages inside."""
    return {
        field.name: getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
        if field.message_type is None and not field.is_repeated
    }
