"""A service's description of itself: the value of GetServerInfo, the same for both services."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fovea.contract.codec import scalar_fields
from fovea.contract.rows import RowDtype, RowLayout, layout_from_proto, layout_to_proto


@dataclass(frozen=True)
class ServerInfo:
    """A service's description of itself.

    `state` is loading, serving, draining or failed; `progress` is the share of the model that is loaded.
    `limits` and `load` carry the fields of the contract by name. `details` holds what is specific to a
    service: the encoder's name and device, the decoder's engine, attention, encoders and tiers.
    """

    version: str
    model: str
    fingerprint: str
    state: str
    progress: float
    dtype: str
    features: tuple[str, ...]
    limits: Mapping[str, Any]
    load: Mapping[str, int]
    details: Mapping[str, Any]


_COMMON = {field.name for field in fields(ServerInfo)} | {"loading_progress"}


def describe_layout(layout: RowLayout | None) -> dict[str, Any] | None:
    """The entry `layout` of `details`."""
    if layout is None:
        return None
    plain = {"width": layout.width, "levels": layout.levels, "dtype": layout.dtype.value}
    return plain | {"row_bytes": layout.row_bytes}


def server_info_to_proto(info: ServerInfo, api: Any) -> Any:
    """A GetServerInfoResponse of `api`, the module of a service's messages."""
    details, layout = dict(info.details), info.details["layout"]
    if layout is not None:
        details["layout"] = layout_to_proto(
            RowLayout(layout["width"], layout["levels"], RowDtype(layout["dtype"]))
        )
    return api.GetServerInfoResponse(
        version=info.version,
        model=info.model,
        fingerprint=info.fingerprint,
        state=api.ServingState.Value(f"SERVING_STATE_{info.state.upper()}"),
        loading_progress=info.progress,
        dtype=info.dtype,
        features=info.features,
        limits=info.limits,
        load=info.load or None,
        **details,
    )


def server_info_from_proto(message: Any, api: Any) -> ServerInfo:
    """From a GetServerInfoResponse of `api`."""
    details = {name: value for name, value in scalar_fields(message).items() if name not in _COMMON}
    details["layout"] = describe_layout(layout_from_proto(message.layout))
    encoders = [scalar_fields(encoder) for encoder in getattr(message, "encoders", ())]
    tiers = [_set_fields(tier) for tier in getattr(message, "tiers", ())]
    return ServerInfo(
        version=message.version,
        model=message.model,
        fingerprint=message.fingerprint,
        state=api.ServingState.Name(message.state).removeprefix("SERVING_STATE_").lower(),
        progress=message.loading_progress,
        dtype=message.dtype,
        features=tuple(message.features),
        limits=scalar_fields(message.limits),
        load=scalar_fields(message.load),
        details=details | ({"encoders": encoders} if encoders else {}) | ({"tiers": tiers} if tiers else {}),
    )


def _set_fields(message: Any) -> dict[str, Any]:
    return {field.name: value for field, value in message.ListFields()}
