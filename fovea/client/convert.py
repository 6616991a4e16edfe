"""From the messages of both services to the client's values. Makes no calls."""

from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Any

from fovea.client.values import Placed, ServerInfo
from fovea.contract.count import token_count_from_proto
from fovea.contract.errors import RowsMismatch
from fovea.contract.image import StoredImage, facts_from_proto
from fovea.contract.rows import layout_from_proto, origin_from_proto
from fovea.encoder.v1 import encoder_pb2

_COMMON = {field.name for field in fields(ServerInfo)} | {"loading_progress"}


def stored(message: Any) -> StoredImage:
    """From a PutImageResponse or DescribeImageResponse of either service."""
    return StoredImage(
        facts=facts_from_proto(message.facts),
        already=getattr(message, "already_stored", True),
        expires=message.expire_time.ToNanoseconds() / 1e9,
        encoder=getattr(message, "encoder", ""),
    )


def kept(header: encoder_pb2.EncodeHeader) -> tuple[int, ...]:
    """The kept indices; empty if all rows are there. Raises RowsMismatch for invalid indices."""
    indices = tuple(header.kept)
    ascending = all(before < after for before, after in pairwise(indices))
    if indices and not (ascending and len(indices) == header.rows and indices[-1] < header.count.tokens):
        raise RowsMismatch(
            f"{len(indices)} kept indices for {header.rows} rows, or indices outside of the grid"
        )
    return indices


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
    """From a GetServerInfoResponse of either service; `states` is that service's ServingState."""
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
    description = None
    if layout is not None:
        description = {"width": layout.width, "levels": layout.levels, "dtype": layout.dtype.value}
        description["row_bytes"] = layout.row_bytes
    encoders = [flat(encoder) for encoder in getattr(message, "encoders", ())]
    return {"layout": description} | ({"encoders": encoders} if encoders else {})


def flat(message: Any) -> dict[str, Any]:
    """The singular scalar fields of a message by name."""
    return {
        field.name: getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
        if field.message_type is None and not field.is_repeated
    }
