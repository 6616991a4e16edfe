"""GET /v1/models, and the model of a request. A decoder serves a single model."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from fovea.client import ServerInfo
from gateway_svc import gateway
from gateway_svc.endpoint import route
from gateway_svc.errors import ModelUnknown

NOTICE = "x-fovea-model-notice"
SHOWN_CHARACTERS = 200


def routes() -> list[BaseRoute]:
    return [route("/v1/models", list_models), route("/v1/models/{model:path}", retrieve_model)]


async def list_models(request: Request) -> Response:
    """The only model. Asks with the caller's own token, so that a wrong token is told."""
    info = await gateway.of(request).calling(request).info()
    return JSONResponse({"object": "list", "data": [_model(info)]}, headers=notice_headers(info))


async def retrieve_model(request: Request) -> Response:
    info = await gateway.of(request).calling(request).info()
    _check(info, request.path_params["model"])
    return JSONResponse(_model(info), headers=notice_headers(info))


async def check_model(request: Request, model: str) -> ServerInfo:
    """The description of the decoder, if the model is its. Raises ModelUnknown."""
    info = await gateway.of(request).info(request)
    _check(info, model)
    return info


def _check(info: ServerInfo, model: str) -> None:
    if model != info.model:
        raise ModelUnknown(model[:SHOWN_CHARACTERS], info.model)


def notice_of(info: ServerInfo) -> str:
    """What readers of the model's answers should know; empty for most models."""
    return str(info.details.get("model_notice", ""))


def notice_headers(info: ServerInfo) -> dict[str, str]:
    """The header with the notice, in ASCII and on a single line."""
    notice = " ".join(notice_of(info).split()).encode("ascii", "replace").decode()
    return {NOTICE: notice} if notice else {}


def _model(info: ServerInfo) -> dict[str, Any]:
    notice = {"notice": notice} if (notice := notice_of(info)) else {}
    about = {"version": info.version, "limits": dict(info.limits), "features": list(info.features), **notice}
    return {"id": info.model, "object": "model", "created": 0, "owned_by": "fovea", "fovea": about}
